"""An HTTP server in a process of its own that takes webhooks and writes down what came.

`python webhook_receiver.py FILE [CERTIFICATE KEY]`: prints its port. Each request is a line of
JSON in FILE. While a file `FILE.fails` is there it answers with the status that is in it.
"""

import http.server
import json
import ssl
import sys
from pathlib import Path

GOT = Path(sys.argv[1])
FAILS = GOT.with_name(f"{GOT.name}.fails")


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        status = int(FAILS.read_text()) if FAILS.exists() else 204
        request = {"path": self.path, "headers": dict(self.headers), "body": body}
        with GOT.open("a") as file:
            file.write(json.dumps(request | {"answered": status}) + "\n")
        self.send_response(status)
        self.send_header("Location", f"http://127.0.0.1:{self.server.server_address[1]}/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST  # noqa: N815 - a redirect that is followed is a GET

    def log_message(self, format: str, *args: object) -> None:
        pass


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    if len(sys.argv) > 2:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*sys.argv[2:])
        server.socket = context.wrap_socket(server.socket, server_side=True)
    print(server.server_address[1], flush=True)
    server.serve_forever()
