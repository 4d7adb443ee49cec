"""Takes webhooks of trackd and checks their signatures: webhook_receiver.py SECRET_FILE [PORT].

Prints its port, and then the text of each event, once however often it comes. Put a server with TLS
before it.
"""

import hashlib
import hmac
import json
import sys
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

MAX_AGE_S = 300
MAX_BYTES = 65536


class Receiver(BaseHTTPRequestHandler):
    """Answers 204 to an event of the daemon that has the secret, 401 to anything else."""

    secret = b""
    seen: ClassVar[deque[str]] = deque(maxlen=10_000)

    def do_POST(self) -> None:
        """Take an event."""
        size = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(size) if 0 < size <= MAX_BYTES else b""
        genuine = self._is_genuine(body)
        self.send_response(204 if genuine else 401)
        self.end_headers()
        if genuine:
            event = json.loads(body)
            if event["id"] not in self.seen:
                self.seen.append(event["id"])
                print(event["stream"], event["event"], event["text"], flush=True)

    def _is_genuine(self, body: bytes) -> bool:
        timestamp = self.headers.get("X-Trackd-Timestamp", "")
        if not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > MAX_AGE_S:
            return False
        digest = hmac.new(self.secret, timestamp.encode() + b"." + body, hashlib.sha256)
        signature = self.headers.get("X-Trackd-Signature", "")
        return hmac.compare_digest(signature, f"sha256={digest.hexdigest()}")

    def log_message(self, format: str, *args: object) -> None:
        """Write no line for each request."""


def main() -> None:
    """Serve until the program is ended."""
    Receiver.secret = Path(sys.argv[1]).read_bytes().rstrip(b"\r\n")
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    server = HTTPServer(("127.0.0.1", port), Receiver)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
