"""Who is let in by CURVE keys, over real sockets."""

import itertools
import logging
import os
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zmq
import zmq.auth

from tracker.daemon.access.curve import CurveAuthenticator, write_keys
from tracker.daemon.config.schema import SecurityConfig
from tracker.daemon.net.endpoint import parse_bind
from tracker.errors import UsageError

_NOTHING_MS = 500  # a local handshake takes a few; who gets nothing by then is not let in
_PATIENCE_MS = 10_000
_LOOPBACK = ["tcp://127.0.0.1:5570"]


class Authenticator:
    """A daemon's control socket with keys, which echoes, and clients that knock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.knocks = itertools.count()
        self.clients = folder / "clients"
        self.clients.mkdir()
        self.server = write_keys(folder, "server")
        config = SecurityConfig(server_key=self.server.secret, client_keys=self.clients)
        security = CurveAuthenticator.from_config(config, ["tcp://0.0.0.0:5570"])
        assert security is not None
        self.security = security
        self.context: zmq.Context = zmq.Context()
        self.security.start(self.context)
        self.router = self.context.socket(zmq.ROUTER)
        self.security.apply(self.router)
        port = self.router.bind_to_random_port("tcp://127.0.0.1")
        self.address = f"tcp://127.0.0.1:{port}"
        self.outside: zmq.Context = zmq.Context()

    def client_keys(self, name: str, *, allowed: bool = True) -> tuple[bytes, bytes]:
        files = write_keys(self.folder / "theirs", name)
        if allowed:
            (self.clients / files.public.name).write_bytes(files.public.read_bytes())
        public, secret = zmq.auth.load_certificate(files.secret)
        assert secret is not None
        return public, secret

    def knock(
        self, keys: tuple[bytes, bytes] | None, server: bytes | None = None, wait_ms: int = 0
    ) -> str | None:
        """Connect, say hello and return the User-Id that the daemon sees; None: not let in."""
        with self.outside.socket(zmq.DEALER) as dealer:
            dealer.linger = 0
            dealer.sndtimeo = _PATIENCE_MS
            if keys is not None:
                dealer.curve_publickey, dealer.curve_secretkey = keys
                dealer.curve_serverkey = server or self.security.public_key
            dealer.connect(self.address)
            hello = f"hello {next(self.knocks)}".encode()
            try:
                dealer.send(hello)
            except zmq.Again:  # refused already: there is no connection left to send on
                return None
            return self._answer(dealer, hello, wait_ms or _PATIENCE_MS)

    def _answer(self, dealer: zmq.Socket, hello: bytes, wait_ms: int) -> str | None:
        while self.router.poll(wait_ms):
            name, heard = self.router.recv_multipart(copy=False)
            if heard.bytes != hello:
                continue  # of one who was let in after it had given up
            self.router.send_multipart([name, heard])
            assert dealer.poll(_PATIENCE_MS)
            assert dealer.recv() == hello
            return str(heard.get("User-Id"))
        return None

    def close(self) -> None:
        self.outside.destroy(linger=0)
        self.router.close(linger=0)
        self.security.stop()
        self.context.term()


def becomes(holds: Callable[[], bool]) -> bool:
    deadline_s = time.monotonic() + 30
    while time.monotonic() < deadline_s:
        if holds():
            return True
        time.sleep(0.1)
    return False


@pytest.fixture
def authenticator(tmp_path):
    authenticator = Authenticator(tmp_path)
    yield authenticator
    authenticator.close()


def test_a_client_is_let_in_by_its_key_and_known_by_its_file(authenticator):
    assert authenticator.knock(authenticator.client_keys("viewer")) == "viewer"


@pytest.mark.slow
def test_the_wrong_keys_get_nothing_and_the_right_ones_still_do(authenticator):
    viewer = authenticator.client_keys("viewer")
    stranger = authenticator.client_keys("stranger", allowed=False)
    another_server, _ = zmq.curve_keypair()

    assert authenticator.knock(None, wait_ms=_NOTHING_MS) is None
    assert authenticator.knock(viewer, server=another_server, wait_ms=_NOTHING_MS) is None
    assert authenticator.knock(stranger, wait_ms=_NOTHING_MS) is None
    assert authenticator.security.refused >= 1
    assert authenticator.knock(viewer) == "viewer"


@pytest.mark.slow
def test_keys_may_come_and_go_while_the_daemon_runs(authenticator):
    viewer = authenticator.client_keys("viewer")
    assert authenticator.knock(viewer) == "viewer"

    late = authenticator.client_keys("late")
    assert becomes(lambda: authenticator.knock(late, wait_ms=_NOTHING_MS) == "late")

    refused = authenticator.security.refused
    (authenticator.clients / "viewer.key").unlink()
    assert becomes(lambda: authenticator.knock(viewer, wait_ms=_NOTHING_MS) is None)
    assert becomes(lambda: authenticator.security.refused > refused)
    assert authenticator.knock(late) == "late"


def test_nobody_is_let_in_when_the_folder_is_gone(authenticator, caplog):
    viewer = authenticator.client_keys("viewer")
    (authenticator.clients / "viewer.key").unlink()
    authenticator.clients.rmdir()
    with caplog.at_level(logging.ERROR):
        authenticator.security.clients.reload()
    assert "no client is let in" in caplog.text
    assert authenticator.knock(viewer, wait_ms=_NOTHING_MS) is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no public-key in it"),
        (b'public-key = "short"', "its public-key is not a key of 40 characters"),
        (b'public-key = "' + b"\xff" * 40 + b'"', "its public-key is not a key of 40 characters"),
        (b"#" * 70_000, "too large for a key file"),
    ],
)
def test_a_damaged_key_file_is_left_out_and_the_others_count(
    authenticator, caplog, content, reason
):
    (authenticator.clients / "broken.key").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert authenticator.knock(authenticator.client_keys("viewer")) == "viewer"
    assert "broken.key is left out" in caplog.text
    assert reason in caplog.text


def test_without_an_authenticator_nobody_is_let_in(authenticator):
    """libzmq by itself would let everyone in."""
    viewer = authenticator.client_keys("viewer")
    authenticator.security.stop()
    assert authenticator.knock(viewer, wait_ms=_NOTHING_MS) is None


@pytest.mark.slow
def test_a_refused_client_is_told_to_the_log_once_however_often_it_tries(authenticator, caplog):
    stranger = authenticator.client_keys("stranger", allowed=False)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert authenticator.knock(stranger, wait_ms=_NOTHING_MS) is None
    told = [record for record in caplog.records if "refused a client" in record.message]
    assert len(told) == 1
    assert stranger[0].decode() in told[0].message
    assert stranger[1].decode() not in caplog.text


@pytest.mark.parametrize(
    "bind",
    [
        "tcp://0.0.0.0:5570",
        "tcp://*:5570",
        "tcp://[::]:5570",
        "tcp://192.168.1.5:5570",
        "tcp://eth0:5570",
        "tcp://127.0.0.1.example.org:5570",
    ],
)
def test_listening_to_others_without_keys_is_refused(bind):
    with pytest.raises(UsageError) as refused:
        CurveAuthenticator.from_config(SecurityConfig(), [*_LOOPBACK, bind])
    assert f"refusing to listen on {bind} without keys" in str(refused.value)
    assert "trackd keys new" in refused.value.hint


@pytest.mark.parametrize(
    "bind",
    [
        "tcp://127.0.0.1:5570",
        "tcp://127.9.9.9:*",
        "tcp://[::1]:5570",
        "tcp://localhost:0",
        "ipc:///run/trackd/control",
        "inproc://control",
    ],
)
def test_this_machine_needs_no_keys(bind):
    assert parse_bind(bind).local
    assert CurveAuthenticator.from_config(SecurityConfig(), [bind]) is None


@pytest.mark.parametrize(
    "bind", ["5570", "tcp://127.0.0.1", "tcp://:5570", "udp://127.0.0.1:1", "tcp://[::1]:99999", ""]
)
def test_an_address_that_cannot_be_one_is_refused(bind):
    with pytest.raises(UsageError, match="cannot listen on"):
        parse_bind(bind)


def test_a_server_key_that_would_let_everyone_in_is_refused(tmp_path):
    server = write_keys(tmp_path, "server")
    with pytest.raises(UsageError, match="without client_keys would let every client in"):
        CurveAuthenticator.from_config(SecurityConfig(server_key=server.secret), _LOOPBACK)


def test_client_keys_without_a_server_key_are_refused(tmp_path):
    with pytest.raises(UsageError, match="does nothing without server_key"):
        CurveAuthenticator.from_config(SecurityConfig(client_keys=tmp_path), _LOOPBACK)


def test_keys_that_cannot_be_read_are_refused(tmp_path):
    server = write_keys(tmp_path, "server")

    def refusal(server_key: Path, client_keys: Path = tmp_path) -> str:
        config = SecurityConfig(server_key=server_key, client_keys=client_keys)
        with pytest.raises(UsageError) as refused:
            CurveAuthenticator.from_config(config, _LOOPBACK)
        return str(refused.value)

    assert "No such file" in refusal(tmp_path / "absent.key_secret")
    assert "holds no secret key; name the .key_secret file" in refusal(server.public)
    other, _ = zmq.curve_keypair()
    mixed = tmp_path / "mixed.key_secret"
    lines = server.secret.read_text().splitlines()
    mixed.write_text("\n".join([f'public-key = "{other.decode()}"', lines[-1]]))
    assert "its two keys are no pair" in refusal(mixed)
    assert "no such folder" in refusal(server.secret, tmp_path / "absent")


@pytest.mark.skipif(sys.platform == "win32", reason="modes of files are not those of Windows")
def test_a_secret_that_others_can_read_is_told(tmp_path, caplog):
    server = write_keys(tmp_path, "server")
    config = SecurityConfig(server_key=server.secret, client_keys=tmp_path)
    CurveAuthenticator.from_config(config, _LOOPBACK)
    assert "read by other users" not in caplog.text
    server.secret.chmod(0o644)
    CurveAuthenticator.from_config(config, _LOOPBACK)
    assert "can be read by other users; chmod 600 it" in caplog.text


@pytest.mark.skipif(sys.platform == "win32", reason="modes of files are not those of Windows")
def test_key_files_are_for_their_owner_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        files = write_keys(tmp_path, "viewer")
    finally:
        os.umask(before)
    assert stat.S_IMODE(files.secret.stat().st_mode) == 0o600
