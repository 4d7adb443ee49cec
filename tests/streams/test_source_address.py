"""Addresses that are on no command line and in no configuration: files, stdin, environment."""

import io
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.fake_daemon import daemon
from tests.support.streams_clips import write_pattern
from tracker.cli.main import main
from tracker.daemon.config.load import load_config
from tracker.daemon.state.state_file import SavedState, SavedStream, read_state, write_state
from tracker.errors import UsageError

URL = "rtsp://viewer:hunter2@10.0.0.5/main"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "door.url"
    path.write_text(f"\n{URL}\r\n\n")
    path.chmod(0o600)
    return path


def stdin(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))


def added(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    with daemon() as fake:
        monkeypatch.setenv("TRACKD_CONTROL", fake.control)
        assert main(["streams", "add", "door", *arguments]) == 0
        url: str = fake.requests[0].url
    return url


@pytest.mark.parametrize("more", [["--realtime"], []])
def test_streams_add_takes_it_from_a_file(
    more: list[str],
    secret: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert added(monkeypatch, *more, "--url-file", str(secret)) == URL
    assert added(monkeypatch, f"--url-file={secret}", *more) == URL
    assert capsys.readouterr().err == ""


def test_streams_add_takes_it_from_stdin_or_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stdin(monkeypatch, f"{URL}\n")
    assert added(monkeypatch, "-") == URL
    monkeypatch.setenv("DOOR", URL)
    assert added(monkeypatch, "--url-env", "DOOR") == URL
    assert added(monkeypatch, "--realtime", URL) == URL


def test_who_else_can_read_the_file_is_told(
    secret: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secret.chmod(0o644)
    assert added(monkeypatch, "--url-file", str(secret)) == URL
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"trackd: warning: other users can get at {secret}; chmod 600 {secret}"


@pytest.mark.slow
def test_track_and_doctor_take_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = write_pattern(tmp_path / "clip.mp4", frames=3)
    url_file = tmp_path / "clip.url"
    url_file.write_text(str(clip))
    url_file.chmod(0o600)
    monkeypatch.setenv("CLIP", str(clip))
    for arguments in (["--url-file", str(url_file)], ["--url-env", "CLIP"], ["-"]):
        stdin(monkeypatch, f"{clip}\n")
        track = ["track", *arguments, "--box", "1:0,0,9,9", "--start", "3", "--davis"]
        assert main([*track, str(tmp_path / "masks")]) == 2  # the source was opened
        assert "past the end of the source (3 frames)" in capsys.readouterr().err
    config = tmp_path / "daemon.yaml"
    config.write_text(
        "control: {bind: 'tcp://127.0.0.1:*'}\n"
        "data: {bind: 'tcp://127.0.0.1:*', latest_bind: null}\n"
        "http: {port: 0}\n"
    )
    assert main(["doctor", "--config", str(config), "--source-file", str(url_file)]) == 0
    assert f"{clip}: 160x120" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "the following arguments are required: URL"),
        (["x", "--url-env", "HOME"], "the address is given twice"),
        (["--url-env", "HOME", "--url-file", "x"], "the address is given twice"),
        (["--url-env", "NO_SUCH_NAME"], "NO_SUCH_NAME is not set in the environment"),
        (["--url-file", "{}/none"], "none: No such file or directory"),
        (["--url-file", "{}"], "Is a directory"),
        (["--url-file", "{}/empty"], "holds 0 lines; write one address"),
        (["--url-file", "{}/two"], "holds 2 lines; write one address"),
        (["--url-file", "{}/long"], "too long for an address"),
        (["--url-file", "{}/binary"], "not UTF-8 text"),
    ],
)
def test_what_is_no_address_is_one_line(
    arguments: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, data in {
        "empty": b"\n",
        "two": f"{URL}\n{URL}\n".encode(),
        "long": b"x" * 20_000,
        "binary": b"rtsp://\xff",
    }.items():
        (tmp_path / name).write_bytes(data)
    assert main(["streams", "add", "door", *(text.format(tmp_path) for text in arguments)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert "hunter2" not in line


def test_a_configuration_names_a_file_beside_it(
    secret: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = secret.parent / "trackd.yaml"
    path.write_text("streams: {door: {url_file: door.url, realtime: false}}")
    with caplog.at_level(logging.WARNING):
        settings = load_config(path).streams["door"]
    assert (settings.url, settings.url_file) == (URL, None)
    assert caplog.messages == []
    secret.chmod(0o604)
    load_config(path)
    assert caplog.messages == [f"other users can get at {secret}; chmod 600 {secret}"]
    kept = SavedStream(settings=settings, paused=False, next_seq=1, next_object_id=1, objects=())
    state = SavedState(saved_at_s=1.0, streams={"door": kept})
    write_state(secret.parent / "streams.json", state)
    read = read_state(secret.parent / "streams.json")
    assert read is not None
    assert read.streams["door"].settings.url == URL


def test_a_configuration_says_which_file_is_wrong(secret: Path) -> None:
    path = secret.parent / "trackd.yaml"
    secret.write_text(f"{URL}\nftp://hunter2\n")
    path.write_text("streams: {door: {url_file: door.url}}")
    with pytest.raises(UsageError, match=r"streams\.door\.url_file: .* holds 2 lines") as refused:
        load_config(path)
    secret.write_text("gopher://me:hunter2@h/x")
    with pytest.raises(UsageError, match=r"streams\.door\.url: unknown kind of source") as second:
        load_config(path)
    assert "hunter2" not in f"{refused.value}{second.value}"
