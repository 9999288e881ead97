"""Keep the passwords of Prefect servers, each in a file that only this user can read."""

import os
import secrets
from pathlib import Path
from urllib.parse import urlsplit

from spokenby.errors import InputError
from spokenby.settings import Settings

_THIS_MACHINE = {"localhost", "0.0.0.0", "::", "::1"}  # noqa: S104 - to ask, not to listen


def make_password(url: str, settings: Settings) -> Path:
    """Keep the password of the server at an address; make one where there is none.

    A PREFECT_SERVER_API_AUTH_STRING, `user:password`, takes the place of the kept one.

    Returns:
        the file that holds it.

    Raises:
        InputError: it cannot be written, or the password is none.
    """
    path = _path(url, settings)
    password = os.environ.get("PREFECT_SERVER_API_AUTH_STRING") or kept_password(url, settings)
    if password and not all(password.partition(":")):
        raise InputError("the password of a Prefect server is written user:password", "change it")
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(f"{password or new_password()}\n")
        fresh.replace(path)
    except OSError as error:
        raise InputError(
            f"cannot keep the server's password in {path} ({error.strerror})",
            "permit it, or set SPOKENBY_DATA_DIR",
        ) from error
    return path


def new_password() -> str:
    """Return a random password, as Prefect wants it: `user:password`."""
    return f"spokenby:{secrets.token_urlsafe(24)}"


def kept_password(url: str, settings: Settings) -> str:
    """Return the password of the server at an address; empty if none is kept."""
    if not url:
        return ""
    try:
        return _path(url, settings).read_text("utf-8").strip()
    except (OSError, ValueError):  # whoever asks that server will hear what is wrong
        return ""


def _path(url: str, settings: Settings) -> Path:
    """Name the file after the address: a password is for no other server."""
    address = urlsplit(url)
    host = (address.hostname or "").replace(":", "_")
    host = "127.0.0.1" if address.hostname in _THIS_MACHINE else host
    return settings.data_dir / "server" / f"password-{host}-{address.port or 80}"
