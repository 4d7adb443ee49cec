"""Fetching weights from a real HTTP server on loopback that misbehaves on request."""

import errno
import hashlib
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tracker.errors import ModelError, OutputError, UsageError
from tracker.models import download as download_module
from tracker.models.download import download

CONTENT = b"PK" + bytes(i * 7 % 251 for i in range(700_000))
OTHER = b"PK" + bytes(i * 11 % 251 for i in range(600_000))
HALF = 350_000


@dataclass
class Remote:
    """What the server holds and how it behaves; `seen` records each request's Range."""

    content: bytes = CONTENT
    etag: str | None = '"v1"'
    last_modified: str | None = None
    break_after: list[int | None] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    ranges: bool = True
    shift_range_by: int = 0
    content_type: str = "application/octet-stream"
    chunked: bool = False
    seen: list[str | None] = field(default_factory=list)
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    remote: Remote

    def do_GET(self) -> None:
        remote = self.remote
        asked = self.headers.get("Range")
        remote.seen.append(asked)
        if remote.statuses:
            self.send_error(remote.statuses.pop(0))
            return
        self.close_connection = True
        start = 0
        match = re.fullmatch(r"bytes=(\d+)-", asked or "")
        validator = self.headers.get("If-Range", "")
        same = validator in (remote.etag, remote.last_modified) and not validator.startswith("W/")
        if match and remote.ranges and same:
            start = int(match[1]) + remote.shift_range_by
            if start >= len(remote.content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(remote.content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            last, total = len(remote.content) - 1, len(remote.content)
            self.send_header("Content-Range", f"bytes {start}-{last}/{total}")
        else:
            self.send_response(200)
        self._send_body(remote.content[start:])

    def _send_body(self, body: bytes) -> None:
        remote = self.remote
        self.send_header("Content-Type", remote.content_type)
        if remote.etag:
            self.send_header("ETag", remote.etag)
        if remote.last_modified:
            self.send_header("Last-Modified", remote.last_modified)
        limit = remote.break_after.pop(0) if remote.break_after else None
        if remote.chunked:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            part = body[:limit]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
            if limit is None:
                self.wfile.write(b"0\r\n\r\n")
            return
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:limit])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    held = Remote()
    handler = type("Handler", (_Handler,), {"remote": held})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    held.url = f"http://127.0.0.1:{server.server_port}/model.pt"
    yield held
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "models" / "model.pt"


def fetch(remote: Remote, target: Path, sha256: str | None = None) -> list[tuple[int, int | None]]:
    progress: list[tuple[int, int | None]] = []
    download(
        remote.url,
        target,
        sha256=sha256,
        on_progress=lambda done, total: progress.append((done, total)),
        timeout_s=5.0,
        backoff_s=0.0,
    )
    return progress


def fails(remote: Remote, target: Path, kind: type[Exception] = ModelError) -> str:
    with pytest.raises(kind) as error:
        fetch(remote, target)
    text = str(error.value)
    assert "\n" not in text
    assert not target.exists()
    return text


def leave_half(remote: Remote, target: Path) -> Path:
    """Let a first run fail for good half-way; return what it kept."""
    remote.break_after = [HALF]
    remote.statuses = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(download_module, "_ATTEMPTS", 1)
        fails(remote, target)
    remote.seen.clear()
    part = target.with_name("model.pt.part")
    assert part.read_bytes() == CONTENT[:HALF]
    return part


def names(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


def test_a_file_arrives_whole_and_alone(remote: Remote, target: Path) -> None:
    progress = fetch(remote, target, hashlib.sha256(CONTENT).hexdigest())
    assert target.read_bytes() == CONTENT
    assert names(target) == ["model.pt"]
    assert progress[-1] == (len(CONTENT), len(CONTENT))


@pytest.mark.parametrize("chunked", [False, True])
def test_a_transfer_that_breaks_half_way_goes_on_by_itself(
    remote: Remote, target: Path, chunked: bool
) -> None:
    remote.chunked = chunked
    remote.break_after = [HALF, 100_000]
    fetch(remote, target)
    assert target.read_bytes() == CONTENT
    assert len(remote.seen) == 3
    assert remote.seen[0] is None
    starts = [int(asked.split("=")[1][:-1]) for asked in remote.seen[1:] if asked]
    assert len(starts) == 2
    assert 0 < starts[0] <= HALF
    assert starts[0] < starts[1] <= starts[0] + 100_000


def test_a_transfer_that_breaks_again_and_again_keeps_what_it_got(
    remote: Remote, target: Path
) -> None:
    remote.break_after = [1000] * 5
    text = fails(remote, target)
    assert "broke 5 times" in text
    assert "5000 bytes are kept in" in text
    assert str(target.with_name("model.pt.part")) in text
    assert "run the same command again" in text

    fetch(remote, target)

    assert remote.seen[-1] == "bytes=5000-"
    assert target.read_bytes() == CONTENT


def test_a_server_that_ignores_ranges_starts_over(remote: Remote, target: Path) -> None:
    leave_half(remote, target)
    remote.ranges = False
    fetch(remote, target)
    assert remote.seen == [f"bytes={HALF}-"]
    assert target.read_bytes() == CONTENT


def test_a_file_that_changed_on_the_server_starts_over(remote: Remote, target: Path) -> None:
    leave_half(remote, target)
    remote.content, remote.etag = OTHER, '"v2"'
    fetch(remote, target)
    assert target.read_bytes() == OTHER


def test_a_file_that_changes_between_two_attempts_starts_over(
    remote: Remote, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(_: float) -> None:
        remote.content, remote.etag = OTHER, '"v2"'

    monkeypatch.setattr(download_module.time, "sleep", change)
    remote.break_after = [HALF]
    fetch(remote, target)
    assert target.read_bytes() == OTHER


def test_last_modified_serves_where_the_etag_is_weak(remote: Remote, target: Path) -> None:
    remote.etag, remote.last_modified = 'W/"v1"', "Sun, 29 Sep 2024 00:00:00 GMT"
    leave_half(remote, target)
    progress = fetch(remote, target)
    assert progress[0][0] > HALF
    assert remote.seen == [f"bytes={HALF}-"]
    assert target.read_bytes() == CONTENT


def test_without_a_version_from_the_server_nothing_is_resumed(remote: Remote, target: Path) -> None:
    remote.etag = None
    leave_half(remote, target)
    fetch(remote, target)
    assert remote.seen == [None]
    assert target.read_bytes() == CONTENT


def test_a_part_from_another_address_is_not_gone_on_with(remote: Remote, target: Path) -> None:
    leave_half(remote, target)
    remote.url = remote.url.replace("model.pt", "other.pt")
    fetch(remote, target)
    assert remote.seen == [None]
    assert target.read_bytes() == CONTENT


def test_a_note_cut_short_by_a_crash_starts_over(remote: Remote, target: Path) -> None:
    leave_half(remote, target)
    target.with_name("model.pt.part.json").write_text('{"url": "ht')
    fetch(remote, target)
    assert remote.seen == [None]
    assert target.read_bytes() == CONTENT


def test_another_range_than_asked_for_starts_over(remote: Remote, target: Path) -> None:
    leave_half(remote, target)
    remote.shift_range_by = 10
    fetch(remote, target)
    assert remote.seen == [f"bytes={HALF}-", None]
    assert target.read_bytes() == CONTENT


def test_a_part_that_was_complete_already_only_gets_its_name(remote: Remote, target: Path) -> None:
    part = leave_half(remote, target)
    part.write_bytes(CONTENT)
    fetch(remote, target)
    assert target.read_bytes() == CONTENT
    assert names(target) == ["model.pt"]


def test_a_part_longer_than_the_file_starts_over(remote: Remote, target: Path) -> None:
    part = leave_half(remote, target)
    part.write_bytes(CONTENT + b"more")
    fetch(remote, target)
    assert remote.seen == [f"bytes={len(CONTENT) + 4}-", None]
    assert target.read_bytes() == CONTENT


def test_a_wrong_checksum_leaves_nothing(remote: Remote, target: Path) -> None:
    with pytest.raises(ModelError, match=f"has SHA-256 .*, expected {'0' * 64}"):
        fetch(remote, target, "0" * 64)
    assert names(target) == []


@pytest.mark.parametrize("status", [404, 403])
def test_a_refusal_is_final_and_keeps_the_part(remote: Remote, target: Path, status: int) -> None:
    part = leave_half(remote, target)
    remote.statuses = [status]
    assert f"answered {status}" in fails(remote, target)
    assert len(remote.seen) == 1
    assert part.stat().st_size == HALF


def test_a_server_that_is_busy_is_asked_again(remote: Remote, target: Path) -> None:
    remote.statuses = [503, 429]
    fetch(remote, target)
    assert len(remote.seen) == 3
    assert target.read_bytes() == CONTENT


def test_a_login_page_is_not_weights(remote: Remote, target: Path) -> None:
    remote.content_type = "text/html; charset=utf-8"
    assert "web page instead of a file" in fails(remote, target)
    assert names(target) == []


def test_no_server_is_one_clear_line(remote: Remote, target: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    remote.url = f"http://127.0.0.1:{port}/model.pt?token=secret"
    text = fails(remote, target)
    assert f"cannot reach http://127.0.0.1:{port}/model.pt: Connection refused" in text
    assert "check the network" in text
    assert "secret" not in text


def test_a_server_that_falls_silent_is_not_waited_for(target: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/model.pt"
        with pytest.raises(ModelError, match=r"cannot reach .* timed out"):
            download(url, target, sha256=None, on_progress=lambda *_: None, timeout_s=0.05)


@pytest.mark.parametrize(
    "url",
    ["ftp://example.org/a", "file:///etc/hosts", "model.pt", "http://", "http://[", "http://é.org"],
)
def test_only_web_addresses_are_accepted(target: Path, url: str) -> None:
    with pytest.raises(UsageError, match="http:// or https://"):
        download(url, target, sha256=None, on_progress=lambda *_: None)
    assert not target.parent.exists()


def test_credentials_in_an_address_are_refused_and_not_repeated(target: Path) -> None:
    with pytest.raises(UsageError) as error:
        download("http://me:pw@example.org/", target, sha256=None, on_progress=lambda *_: None)
    assert "pw" not in str(error.value)


def test_a_directory_that_cannot_be_made(remote: Remote, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    text = fails(remote, tmp_path / "file" / "model.pt", OutputError)
    assert f"cannot write {tmp_path / 'file'}" in text
    assert remote.seen == []


def test_a_full_disk_is_one_clear_line(
    remote: Remote, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download_module.os, "fsync", full)
    text = fails(remote, target, OutputError)
    assert "No space left on device; check its free space" in text


def test_an_interrupt_keeps_the_part(remote: Remote, target: Path) -> None:
    def interrupt(done: int, total: int | None) -> None:
        if done > HALF:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(remote.url, target, sha256=None, on_progress=interrupt)
    kept = target.with_name("model.pt.part").stat().st_size
    assert kept > HALF
    fetch(remote, target)
    assert remote.seen[-1] == f"bytes={kept}-"
    assert target.read_bytes() == CONTENT
