"""`trackd studio` as a process: what it refuses, and a page over TLS with a password."""

import http.client
import re
import signal
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import self_signed
from tests.support.warm_python import python
from tools.serving import Daemon, free_ports
from tracker.cli.main import main
from tracker.client import Client
from tracker.client.reach import why_unreachable
from tracker.client.sockets import DEFAULT_CONTROL
from tracker.errors import TrackdError
from tracker.project.library import Library, default_projects

pytest.importorskip("uvicorn", reason="the extra studio is not installed")

from tracker.studio import launch as launch_module
from tracker.studio.launch import Launch

PASSWORD = "correct horse battery"
# On any free port, and nothing is kept in the folder of this user.
ARGUMENTS = ("studio", "--no-browser", "--projects", "projects", "--port", "0")
STUDIO = ("-m", "tracker.cli.main", *ARGUMENTS)


@pytest.fixture(autouse=True)
def no_daemon_of_this_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TRACKD_CONTROL", "TRACKD_DATA"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def data_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the studio keeps projects if it is not told."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    self_signed(tmp_path / "cert.pem", tmp_path / "key.pem", alternative="DNS:localhost")
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    (tmp_path / "short").write_text("x\n")
    (tmp_path / "empty.pem").write_text("")
    return tmp_path


TLS = ("--tls-cert", "cert.pem", "--tls-key", "key.pem")
OPEN = ("--host", "0.0.0.0", "--name", "localhost")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--host", "0.0.0.0"), "is reached by other machines"),
        ((*OPEN, *TLS), "is reached by other machines"),
        ((*OPEN, "--password-file", "password"), "is reached by other machines"),
        (("--host", "0.0.0.0", *TLS, "--password-file", "password"), "must know its own name"),
        (("--tls-cert", "cert.pem"), "go together"),
        (("--tls-cert", "empty.pem", "--tls-key", "key.pem"), "cannot use empty.pem"),
        (("--password-file", "short"), "holds no password"),
        (("--password-file", "absent"), "cannot read absent"),
        (("--port", "70000"), "not a port"),
        (("--folder", "absent"), "--folder absent is not a folder"),
        (("--max-upload", "-1"), "--max-upload -1: not a size"),
    ],
)
def test_what_would_be_open_or_cannot_be_read_is_refused(
    folder: Path,
    options: tuple[str, ...],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    assert main([*ARGUMENTS, *options]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


@pytest.mark.system
def test_a_daemon_that_is_named_and_is_not_there_is_not_started(folder: Path) -> None:
    control = f"tcp://127.0.0.1:{free_ports(1)[0]}"
    done = subprocess.run(
        [*python(), *STUDIO, "--control", control],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert f"nothing listens on {control}" in done.stderr


@pytest.fixture
def address(folder: Path) -> Iterator[int]:
    """The port of a studio on all addresses of the machine, over TLS."""
    with Daemon(folder / "daemon") as daemon:
        endpoints = ("--control", daemon.config["control"]["bind"])
        options = (*OPEN, *TLS, "--password-file", "password", *endpoints)
        with subprocess.Popen(
            [*python(), *STUDIO, *options], cwd=folder, stderr=subprocess.PIPE
        ) as studio:
            assert studio.stderr is not None
            try:
                said = studio.stderr.readline().decode()
                told = re.fullmatch(r"studio: https://localhost:(\d+)/\n", said)
                assert told is not None, said
                yield int(told[1])
            finally:
                studio.terminate()
            assert studio.wait(60) == 0


@pytest.mark.system
def test_a_page_over_tls_asks_for_the_password(folder: Path, address: int) -> None:
    context = ssl.create_default_context(cafile=str(folder / "cert.pem"))

    def ask(method: str, path: str, body: str | None = None, **headers: str):
        connection = http.client.HTTPSConnection("localhost", address, context=context, timeout=60)
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        response.read()
        connection.close()
        return response

    own = f"https://localhost:{address}"
    assert ask("GET", "/").headers["location"] == "/login"
    assert ask("POST", "/login", "password=wrong", Origin=own).status == 401
    entered = ask("POST", "/login", f"password={PASSWORD.replace(' ', '+')}", Origin=own)
    cookie = entered.headers["set-cookie"]
    assert "Secure" in cookie and "HttpOnly" in cookie
    assert ask("GET", "/", Cookie=cookie.partition(";")[0]).status == 200
    plain = http.client.HTTPConnection("localhost", address, timeout=60)
    with pytest.raises((http.client.HTTPException, OSError)):
        plain.request("GET", "/")
        plain.getresponse()


@pytest.mark.system
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_daemon_of_its_own_ends_with_it(folder: Path, number: int) -> None:
    """On the default endpoints, which must be free."""
    if not why_unreachable(DEFAULT_CONTROL):
        pytest.skip("a daemon runs on the default endpoint")
    # In a group of its own, as a shell starts it; a background shell would ignore SIGINT.
    command = [*python(), *STUDIO, "lavfi:testsrc2=size=320x240:rate=10"]
    with subprocess.Popen(
        command, cwd=folder, stderr=subprocess.PIPE, text=True, preexec_fn=_heed_interrupts
    ) as studio:
        assert studio.stderr is not None
        try:
            said = []
            while not said or not said[-1].startswith("studio: "):
                said.append(studio.stderr.readline())
                assert said[-1], said
            with Client() as client:
                (stream,) = client.streams()
            assert stream.url == "lavfi:testsrc2=size=320x240:rate=10"
            studio.send_signal(number)
            studio.stderr.read()
            assert studio.wait(60) == 0
        finally:
            studio.terminate()  # with its daemon
    assert why_unreachable(DEFAULT_CONTROL)


def pages(**launch: Any) -> bool:
    """Whether a studio that is started so has pages of projects."""
    with launch_module._pages(Launch(**launch)) as found:
        return found is not None


def test_a_studio_of_streams_needs_no_projects(
    data_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pages()
    assert capsys.readouterr().err == ""
    with Library(default_projects()).lock():
        assert not pages()
        assert "files cannot be annotated: another studio uses" in capsys.readouterr().err
        with pytest.raises(TrackdError, match="another studio uses"):
            pages(folders=(tmp_path,))
        with pytest.raises(TrackdError, match="another studio uses"):
            pages(projects=default_projects())
        assert pages(projects=tmp_path / "others")


def test_a_studio_of_streams_needs_no_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    assert not pages()
    assert "there is no home folder" in capsys.readouterr().err
    with pytest.raises(TrackdError, match="there is no home folder"):
        pages(folders=(tmp_path,))


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
