"""`trackd checkpoints`: what it prints and what it leaves on disk."""

import argparse
import functools
import io
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from rich.console import Console

from tracker.cli import checkpoints as cli
from tracker.errors import ModelError, UnknownModelError
from tracker.models import REGISTRY
from tracker.models.checkpoints import models_dir


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "models"
    monkeypatch.setenv("TRACKD_MODELS_DIR", str(directory))
    return directory


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """A directory and the address that serves it."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    directory = tmp_path / "served"
    directory.mkdir()
    handler = functools.partial(_QuietHandler, directory=str(directory))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield directory, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def trackd(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    cli.add_parser(parser.add_subparsers())
    args = parser.parse_args(["checkpoints", *arguments])
    return cli.run(args)


def test_list_shows_every_model_and_what_is_here(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models.mkdir()
    (models / "sam2.1_hiera_tiny.pt").write_bytes(b"x" * 2_500_000)
    assert trackd("list") == 0
    lines = capsys.readouterr().out.splitlines()
    shown = {
        cells[1]: cells[2:]
        for line in lines
        if len(cells := [cell.strip() for cell in line.split("│")]) > 2
    }
    assert set(shown) == set(REGISTRY)
    assert shown["pico"][0] == "embedded"
    assert shown["sam2.1-tiny"][:3] == ["present", "2.5 MB", "sam2.1_hiera_tiny.pt"]
    assert shown["sam2-large"][:2] == ["missing", ""]
    licenses = [line for line in lines if line.startswith("license of the weights of ")]
    assert len(licenses) == 3
    assert "weights of pico: LicenseRef-trackd-pico-weights, for research" in licenses[0]
    assert "sam2.1-tiny" in licenses[1] and ": Apache-2.0, for any use" in licenses[1]
    assert "weights of sam3-tracker: LicenseRef-SAM-License, Meta's" in licenses[2]


def test_path_prints_the_directory_alone(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert trackd("path") == 0
    assert capsys.readouterr().out == f"{models}\n"


def test_the_directory_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TRACKD_MODELS_DIR")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert models_dir() == tmp_path / "trackd" / "models"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert models_dir() == tmp_path / ".local" / "share" / "trackd" / "models"


def test_get_fetches_from_a_mirror_and_then_has_it(
    models: Path, served: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    directory, url = served
    (directory / "mirror.pt").write_bytes(b"PK" + bytes(1_000_000))

    assert trackd("get", "sam2-tiny", "--url", f"{url}/mirror.pt") == 0

    target = models / "sam2_hiera_tiny.pt"
    assert target.read_bytes() == (directory / "mirror.pt").read_bytes()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"sam2-tiny: downloading to {target}"
    assert lines[-1].startswith("license of the weights: Apache-2.0, ")
    assert "1.0 MB of 1.0 MB (100%)" in lines
    assert len(lines) <= 14

    assert trackd("get", "sam2-tiny", "--url", f"{url}/gone.pt") == 0
    assert "already here" in capsys.readouterr().err


def test_get_of_a_file_that_the_mirror_lacks(models: Path, served: tuple[Path, str]) -> None:
    with pytest.raises(ModelError, match="answered 404"):
        trackd("get", "sam2-tiny", "--url", f"{served[1]}/gone.pt")
    assert list(models.iterdir()) == []


def test_get_of_the_embedded_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert trackd("get", "pico") == 0
    assert "nothing to download" in capsys.readouterr().err


def test_get_of_gated_weights_says_where_they_are(models: Path) -> None:
    with pytest.raises(ModelError, match="only to who accepts their license") as error:
        trackd("get", "sam3-tracker")
    assert "https://huggingface.co/facebook/sam3" in error.value.hint
    assert str(models / "sam3.safetensors") in str(error.value)


def test_get_of_an_unknown_model() -> None:
    with pytest.raises(UnknownModelError, match="did you mean sam2-tiny"):
        trackd("get", "sam2-tini")


def test_an_interrupt_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tracker.models.download.download", interrupted)
    assert trackd("get", "sam2-tiny") == 130
    assert "`trackd checkpoints get sam2-tiny` goes on" in capsys.readouterr().err


def test_a_terminal_gets_a_bar() -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=80, _environ={"TERM": "xterm"})
    with cli.transfer_progress(console) as on_progress:
        on_progress(500_000, 1_000_000)
        on_progress(1_000_000, 1_000_000)
    assert "1.0/1.0 MB" in text.getvalue()
