r"""Receive spokenby's webhooks, and refuse what it did not sign.

    python examples/webhook_receiver.py SECRET
    SPOKENBY_WEBHOOK_HOSTS=127.0.0.1:8099 SPOKENBY_WEBHOOK_SECRET=SECRET \
        spokenby transcribe talk.mp4 --on-done http://127.0.0.1:8099/

Where this prints a line, yours may post one to a chat.
"""

import hashlib
import hmac
import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MOST_BYTES = 10_000_000
OLDEST_S = 300


def is_signed(secret: str, header: str, body: bytes) -> bool:
    """Return whether the sender knows the secret, and sent this only just now."""
    signature = dict(part.partition("=")[::2] for part in header.split(","))
    at, given = signature.get("t", ""), signature.get("v1", "")
    if not at.isdecimal() or abs(time.time() - int(at)) > OLDEST_S:
        return False
    made = hmac.new(secret.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(made.encode(), given.encode())


class Receiver(BaseHTTPRequestHandler):
    """Prints a line for each manifest. `secret` is what spokenby signs with."""

    secret = ""

    def do_POST(self) -> None:
        """Check the signature before anything is read from the body."""
        body = self.rfile.read(min(int(self.headers.get("Content-Length", 0)), MOST_BYTES))
        if not is_signed(self.secret, self.headers.get("Spokenby-Signature", ""), body):
            self.send_error(401)
            return
        manifest = json.loads(body)
        print(f"{manifest['video']['name']}: {manifest['speakers']} speakers", flush=True)
        self.send_response(204)
        self.end_headers()


def main() -> None:
    """Serve until Ctrl-C."""
    Receiver.secret = sys.argv[1]
    ThreadingHTTPServer(("127.0.0.1", 8099), Receiver).serve_forever()


if __name__ == "__main__":
    main()
