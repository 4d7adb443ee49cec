"""The digest of a source's content: another source, another digest, at a bounded cost."""

import base64
import http.server
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from streams import SourceNotFound
from streams.content_digest import content_digest as digest

MIB = 2**20


def noise(length: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(length)


def exchange(path: Path, content: bytes) -> None:
    """Write other content of the same length, and set the times back."""
    status = path.stat()
    assert len(content) == status.st_size
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def changed(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :]


class Handler(http.server.SimpleHTTPRequestHandler):
    """Python's plain server, or one that gives parts and wants a password."""

    gives_parts = False

    def do_GET(self) -> None:
        if not self.gives_parts:
            return super().do_GET()
        if self.headers.get("Authorization") != "Basic " + base64.b64encode(b"me:pass").decode():
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="clips"')
            self.send_header("Content-Length", "0")
            return self.end_headers()
        content = Path(self.translate_path(self.path)).read_bytes()
        asked = self.headers.get("Range")
        start = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
        self.send_response(206 if asked else 200)
        self.send_header("Accept-Ranges", "bytes")
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:])
        return None

    def log_message(self, format: str, *args: object) -> None:
        pass


class PartsHandler(Handler):
    gives_parts = True


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that leaves early is what these tests do


@contextmanager
def serving(folder: Path, handler: type[Handler] = Handler) -> Iterator[str]:
    server = Server(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.slow
@pytest.mark.parametrize("size", [1000, 70 * MIB])
def test_a_file_exchanged_for_one_of_its_size_and_time_has_another_digest(tmp_path, size):
    path = tmp_path / "clip.mp4"
    content = noise(size)
    path.write_bytes(content)
    before = digest(str(path))
    assert digest(str(path)) == before
    for at in (0, size // 2, size - 1):
        exchange(path, changed(content, at) if size < MIB else noise(size, seed=at + 1))
        assert digest(str(path)) != before
    exchange(path, content)
    assert digest(str(path)) == before
    exchange(path, changed(content, 0))
    assert digest(str(path)) != before
    exchange(path, changed(content, size - 1))
    assert digest(str(path)) != before


def test_a_file_that_was_written_again_has_another_digest(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(noise(1000))
    os.utime(path, ns=(0, 10**18))
    before = digest(str(path))
    os.utime(path, ns=(0, 10**18 + 1))
    assert digest(str(path)) != before


def test_each_image_of_a_folder_counts(tmp_path):
    for number in range(50):
        (tmp_path / f"{number:02d}.png").write_bytes(noise(3000, number))
    before = digest(str(tmp_path))
    assert digest(str(tmp_path)) == before
    one = tmp_path / "31.png"
    exchange(one, changed(noise(3000, 31), 1500))
    assert digest(str(tmp_path)) != before
    exchange(one, noise(3000, 31))
    assert digest(str(tmp_path)) == before
    one.rename(tmp_path / "31b.png")
    assert digest(str(tmp_path)) != before


def test_two_images_that_change_their_names_have_another_digest(tmp_path):
    first, second, other = (tmp_path / name for name in ("0.png", "1.png", "2.png"))
    for path, seed in ((first, 1), (second, 2)):
        path.write_bytes(noise(500, seed))
        os.utime(path, ns=(0, 0))
    before = digest(str(tmp_path))
    first.rename(other)
    second.rename(first)
    other.rename(second)
    assert digest(str(tmp_path)) != before


def test_of_a_large_folder_a_bounded_part_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("streams.content_digest._FILE_BYTES", 64_000)
    monkeypatch.setattr("streams.content_digest._IMAGES", 10)
    for number in range(200):
        (tmp_path / f"{number:03d}.png").write_bytes(noise(20_000, number))
    opened: list[str] = []
    really_open = Path.open

    def noted(self: Path, *args, **kwargs):
        opened.append(self.name)
        return really_open(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", noted)
    before = digest(str(tmp_path))
    assert len(opened) == 10
    assert {opened[0], opened[-1]} == {"000.png", "199.png"}
    for name in (opened[0], opened[4], opened[-1]):
        path = tmp_path / name
        content = path.read_bytes()
        for at in (0, len(content) - 1):
            exchange(path, changed(content, at))
            assert digest(str(tmp_path)) != before
        exchange(path, content)
    assert digest(str(tmp_path)) == before
    (tmp_path / "001.png").write_bytes(b"of another size")  # not read, but looked at
    assert digest(str(tmp_path)) != before


@pytest.mark.slow
def test_a_file_exchanged_on_pythons_own_server_has_another_digest(tmp_path):
    path = tmp_path / "clip.mp4"
    content = noise(300_000)
    path.write_bytes(content)
    with serving(tmp_path) as host:
        url = f"http://{host}/clip.mp4"
        before = digest(url)
        assert digest(url) == before
        for at in (0, 150_000, 299_999):
            exchange(path, changed(content, at))
            assert digest(url) != before
        exchange(path, content)
        assert digest(url) == before


@pytest.mark.slow
@pytest.mark.parametrize("handler", [Handler, PartsHandler])
def test_of_a_large_file_on_a_server_the_head_counts_and_the_tail_where_it_gives_parts(
    tmp_path, monkeypatch, handler
):
    monkeypatch.setattr("streams.content_digest._NETWORK_BYTES", 2 * MIB)
    path = tmp_path / "clip.mp4"
    content = noise(5 * MIB)
    path.write_bytes(content)
    with serving(tmp_path, handler) as host:
        url = f"http://me:pass@{host}/clip.mp4"
        before = digest(url)
        assert digest(url) == before
        exchange(path, changed(content, 100))
        assert digest(url) != before
        exchange(path, changed(content, len(content) - 1))
        assert (digest(url) != before) == handler.gives_parts
        path.write_bytes(content[:-1])
        assert digest(url) != before


def test_what_has_no_content_has_one_digest_and_what_is_absent_is_told(tmp_path):
    assert digest("lavfi:testsrc2") == digest("lavfi:testsrc2")
    with pytest.raises(SourceNotFound, match="no such file"):
        digest(str(tmp_path / "absent.mp4"))
    with serving(tmp_path) as host, pytest.raises(SourceNotFound, match=r"the server has nothing"):
        digest(f"http://{host}/absent.mp4")
