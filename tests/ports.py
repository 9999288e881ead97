"""Choose ports for servers of tests: ones that stay free until the server takes them."""

import os
import socket
from itertools import cycle

FIRST = 20_000
"""Below the ports that Linux gives to outgoing connections (from 32,768): a server that binds its
port seconds later, or again after it was killed, would find such a connection there."""

RANGES, PORTS_OF_EACH = 24, 500
"""Each process of a test run has ports of its own."""

_process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % RANGES
# Another test run on this machine most likely begins elsewhere in the range.
_places = cycle((os.getpid() + place) % PORTS_OF_EACH for place in range(PORTS_OF_EACH))


def free_port() -> int:
    """Return a port that nobody has, another one each time."""
    for place in _places:
        port = FIRST + _process * PORTS_OF_EACH + place
        with socket.socket() as listener:
            try:
                listener.bind(("", port))
            except OSError:
                continue
        return port
    raise AssertionError
