"""Tell the commands of a site where the Prefect server of its `spokenby serve` answers."""

from contextlib import AbstractContextManager

from spokenby.settings import Settings
from spokenby.site import servers

_KIND = "address"


def known_to_site(url: str, settings: Settings) -> AbstractContextManager[None]:
    """Let other commands of the site find a server as long as this process runs it."""
    return servers.known_to_site(_KIND, url, settings)


def server_of(settings: Settings) -> str:
    """Return the address of the API of the site's server on this machine; empty if none runs."""
    return servers.server_of(_KIND, settings)
