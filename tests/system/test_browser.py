"""A web page of another origin, in a real Chromium on this machine, at every port of the daemon."""

import http.server
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tools.serving import Daemon
from tracker.protocol.replies import StreamState

PAGE = """<!DOCTYPE html><title>page</title><body><pre id="said">working</pre><script>
const ports = PORTS, op = OP, size = 900;
const shortFrame = (bytes) => Uint8Array.from([bytes.length + 1, 0, ...bytes]);
const text = (string) => new TextEncoder().encode(string);
const post = (url, body) => fetch(url, {method: "POST", mode: "no-cors",
  headers: {"Content-Type": "text/plain"}, body: new Blob([body])});
const patience = (promise) => Promise.race([promise, new Promise((done) => setTimeout(done, 4000))])
  .catch(() => null);

async function crafted(port) {
  // The page learns from its own server what its header looks like to another one.
  const header = await (await fetch("/header", {method: "POST", mode: "no-cors",
    headers: {"Content-Type": "text/plain"}, body: new Blob([new Uint8Array(size)])})).text();
  const head = text(header.replace("Host: " + location.host, "Host: 127.0.0.1:" + port)
    .replace("Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: same-site"));
  let at = 0;
  while (at < head.length) at += 1 + head[at];
  const parts = [new Uint8Array(at - head.length).fill(65), shortFrame(text("end")),
                 shortFrame(text(op))];
  const used = parts.reduce((sum, part) => sum + part.length, 0);
  return new Blob([...parts, new Uint8Array(Math.max(0, size - used)).fill(32)]);
}

async function attack(port) {
  const url = "http://127.0.0.1:" + port + "/x";
  for (let n = 0; n < 3; n++) {
    await patience(post(url, await crafted(port)));
    await patience(post(url, op));
    await patience(fetch(url, {mode: "no-cors"}));
  }
  await patience(new Promise((done) => {
    const socket = new WebSocket("ws://127.0.0.1:" + port + "/x");
    socket.onopen = () => socket.send(op);
    socket.onerror = socket.onclose = done;
  }));
  await patience(new Promise((done) => {
    const image = new Image();
    image.onload = image.onerror = done;
    image.src = url + "?" + encodeURIComponent(op);
  }));
  return patience(fetch("http://127.0.0.1:" + port + "/metrics").then((r) => r.text()));
}

Promise.all(ports.map(attack)).then((read) => fetch("/done", {method: "POST",
  body: JSON.stringify(read.map((text) => text === null || text === undefined ? "" : text))}));
</script>"""


class Site(http.server.ThreadingHTTPServer):
    """The page's own server, of another origin than the daemon's ports."""

    daemon_threads = True

    def __init__(self, page: str) -> None:
        super().__init__(("127.0.0.1", 0), Visit)
        self.page = page
        self.read: list[str] = []
        self.headers_seen: list[str] = []
        self.done = threading.Event()


class Visit(http.server.BaseHTTPRequestHandler):
    """Serves the page, tells it its header, and takes what it could read."""

    server: Site

    def do_GET(self) -> None:
        self._answer(self.server.page.encode(), "text/html")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        header = f"{self.raw_requestline.decode()}{self.headers}"
        if self.path == "/done":
            self.server.read = json.loads(body)
            self.server.done.set()
        else:
            self.server.headers_seen.append(header)
        self._answer(
            header.replace("/header", "/x").replace("\r", "").replace("\n", "\r\n").encode()
        )

    def _answer(self, body: bytes, kind: str = "text/plain") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def serving(page: str) -> Iterator[Site]:
    site = Site(page)
    thread = threading.Thread(target=site.serve_forever, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        site.shutdown()
        site.server_close()


def visit(url: str, profile: Path, done: threading.Event) -> None:
    """Open a page in Chromium until it is done."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no Chromium here")
    command = [program, "--headless", "--disable-gpu", "--disable-background-networking"]
    command += ["--no-first-run", f"--user-data-dir={profile}", "--remote-debugging-port=0"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--no-sandbox")
    with (profile.parent / "chromium.log").open("w") as log:
        browser = subprocess.Popen([*command, url], stdout=log, stderr=log)
    try:
        assert done.wait(180), "the page did not come to its end"
    finally:
        browser.kill()
        browser.wait()


def test_a_web_page_can_do_nothing_to_the_daemon(tmp_path: Path) -> None:
    written = tmp_path / "written-by-a-page"
    source = f"lavfi:testsrc2=size=64x64:rate=5,metadata=print:file={written}"
    op = {"v": 1, "id": "1", "op": "stream.add", "stream": "page", "url": source}
    with Daemon(
        tmp_path / "daemon", {"streams": {"cam": {"url": "lavfi:testsrc2=rate=5"}}}
    ) as daemon:
        data = daemon.config["data"]
        binds = [daemon.config["control"]["bind"], data["bind"], data["latest_bind"]]
        ports = [int(bind.rpartition(":")[2]) for bind in binds] + [daemon.config["http"]["port"]]
        page = PAGE.replace("PORTS", json.dumps(ports)).replace("OP", json.dumps(json.dumps(op)))
        with serving(page) as site:
            visit(f"http://127.0.0.1:{site.server_port}/", tmp_path / "profile", site.done)
        assert site.headers_seen, "the page did not get as far as to craft a request"
        assert site.read == 4 * [""]  # not even the metrics, which are for programs
        with daemon.client() as client:
            streams = client.streams()
            requests = client.metrics()["control"]["requests"]
        assert [info.stream for info in streams] == ["cam"]
        assert streams[0].state is StreamState.RUNNING
        assert {op: count for op, count in requests.items() if count} == {
            "stream.list": 1,
            "metrics": 1,
        }
        assert not written.exists()
