"""A local server that stands in for the Hugging Face hub: one repository, several revisions."""

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class HubServer(http.server.ThreadingHTTPServer):
    """Serves `revisions`: commit → file name → bytes; `main` names the newest commit.

    `requests` holds method, path and Range of each; the first transfer of a name in `broken` ends
    in the middle.
    """

    daemon_threads = True

    def __init__(self, repo: str, revisions: dict[str, dict[str, bytes]], main: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repo, self.revisions, self.main = repo, revisions, main
        self.requests: list[tuple[str, str, str | None]] = []
        self.broken: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        server, path = self.server, self.path.partition("?")[0]
        server.requests.append((self.command, path, self.headers.get("Range")))
        api = f"/api/models/{server.repo}"
        if path == api or path.startswith(f"{api}/revision/"):
            revision = path.removeprefix(api).removeprefix("/revision/") or "main"
            commit = server.main if revision == "main" else revision
            if commit not in server.revisions:
                self._refuse("RevisionNotFound")
                return
            siblings = [{"rfilename": name} for name in server.revisions[commit]]
            content = {"id": server.repo, "sha": commit, "siblings": siblings}
            self._send(json.dumps(content).encode(), {"Content-Type": "application/json"}, body)
            return
        if path.startswith(f"{api}/tree/"):
            files = server.revisions.get(path.removeprefix(f"{api}/tree/"))
            if files is None:
                self._refuse("RevisionNotFound")
                return
            tree = [
                {"type": "file", "path": name, "size": len(data), "oid": _digest(data)}
                for name, data in files.items()
            ]
            self._send(json.dumps(tree).encode(), {"Content-Type": "application/json"}, body)
            return
        prefix = f"/{server.repo}/resolve/"
        commit, _, name = path.removeprefix(prefix).partition("/")
        data = server.revisions.get(commit, {}).get(name)
        if not path.startswith(prefix) or data is None:
            self._refuse("EntryNotFound" if path.startswith(prefix) else "RepoNotFound")
            return
        self._send_file(name, commit, data, body=body)

    def _send_file(self, name: str, commit: str, data: bytes, *, body: bool) -> None:
        headers = {
            "X-Repo-Commit": commit,
            "ETag": f'"{_digest(data)}"',
            "Accept-Ranges": "bytes",
        }
        asked = self.headers.get("Range")
        if asked is not None and body:
            start = int(asked.removeprefix("bytes=").partition("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            self._send(data[start:], headers, body, status=206)
        elif body and name in self.server.broken:
            self.server.broken.discard(name)
            self._send(data, headers, body, cut=len(data) // 2)
        else:
            self._send(data, headers, body)

    def _send(
        self,
        data: bytes,
        headers: dict[str, str],
        body: bool,
        *,
        status: int = 200,
        cut: int | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data[:cut])
        self.close_connection = cut is not None

    def _refuse(self, code: str) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@contextmanager
def serving_hub(
    repo: str, revisions: dict[str, dict[str, bytes]], main: str
) -> Iterator[HubServer]:
    server = HubServer(repo, revisions, main)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
