"""Text that others chose, and terminals and pipes that cannot show all of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import av
import pytest

from tests.support.fake_daemon import daemon, stream_info
from tests.support.moving_square import open_fake_session, write_clip
from tests.support.warm_python import python
from tracker.cli.main import main
from tracker.cli.printable import printable
from tracker.protocol.replies import ObjectInfo
from tracker.types import ObjectState

ROOT = Path(__file__).parents[2]
HOSTILE = "\u202eabc\x1b[31m\x9b2J\n[red]x[/red] :dog:"
ASCII = {"PYTHONIOENCODING": "ascii"}
CP1252 = {"PYTHONIOENCODING": "cp1252"}  # as a pipe on Windows
NO_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
TRACK = (
    "import sys\n"
    "from tests.support import moving_square\n"
    "from tracker.cli import main, track\n"
    "track.open_session = moving_square.open_fake_session\n"
    "code = main.main(sys.argv[1:])\n"
    "print('-- as JSON')\n"
    "sys.exit(code or main.main([*sys.argv[1:], '--json']))\n"
)


def run(*command: str | bytes, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    """Run a Python command with its output in pipes."""
    path = str(ROOT)
    interpreter = [sys.executable] if "LC_ALL" in environment else python()
    return subprocess.run(
        [*interpreter, *command],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        timeout=300,
        check=False,
    )


def trackd(*argv: str | bytes, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    return run("-m", "tracker.cli.main", *argv, **environment)


def is_plain(text: str) -> bool:
    """Whether nothing in it, line ends aside, moves a cursor, a colour or a direction."""
    return all(
        character == "\n" or (" " <= character != "\x7f" and not "\x80" <= character <= "\x9f")
        for character in text
    ) and not set(text) & set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2069")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("red cup", "red cup"),
        ("Käfer 甲虫 👨\u200d👩\u200d👧", "Käfer 甲虫 👨\u200d👩\u200d👧"),
        ("a\u00a0b\u3000c", "a b c"),
        ("\x1b[31m", "?[31m"),
        ("a\r\nb\tc\x7f\x9b", "a??b?c??"),
        ("\u202eabc\u2066\u200f\ufeff", "?abc???"),
        ("[red]", "[red]"),
    ],
)
def test_what_a_terminal_is_given(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_label_is_shown_on_one_plain_line_and_kept_in_json(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tracker.annotate.run.open_session", open_fake_session)
    clip = write_clip(tmp_path / "clip\x1b[31m.mp4", 2)
    prompts = tmp_path / "prompts.json"
    objects = [{"id": 1, "label": HOSTILE, "prompts": [{"frame": 0, "box": [4, 10, 24, 30]}]}]
    prompts.write_text(json.dumps({"version": 1, "objects": objects}))
    argv = ["track", str(clip), "--prompts", str(prompts), "--coco", str(tmp_path / "o.json")]
    assert main(argv) == 0
    shown = capsys.readouterr()
    assert is_plain(shown.out + shown.err)
    assert "object 1 ?abc?[31m?2J?[red]x[/red] :dog:: on 2 of 2 frames\n" in shown.out
    assert main([*argv, "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["objects"][0]["label"] == HOSTILE
    written = json.loads((tmp_path / "o.json").read_text())
    assert written["categories"][0]["name"] == HOSTILE
    assert main(["track", f"absent{HOSTILE}.mp4", "--box", "1:4,10,24,30"]) == 1
    assert is_plain(capsys.readouterr().err)


@pytest.mark.slow
@pytest.mark.parametrize("environment", [{}, ASCII, CP1252, NO_LOCALE])
def test_a_run_ends_well_whatever_its_output_can_hold(tmp_path, environment):
    """An emoji in the label, a byte in the names of files that is no text."""
    clip = os.fsencode(write_clip(tmp_path / "clip.mp4", 2))
    source = clip.replace(b"clip.mp4", b"clip\xff.mp4")
    os.rename(clip, source)  # noqa: PTH104 - bytes
    coco, video = source.replace(b".mp4", b".json"), source.replace(b"clip", b"out")
    argv = ["track", source, "--box", "1:4,10,24,30", "--label", "1:é 🐶".encode()]
    argv += ["--coco", coco, "--out", video, "--quiet"]
    done = run("-c", TRACK, *argv, **environment)
    assert (done.returncode, done.stderr) == (0, b"")
    told, _, as_json = done.stdout.partition(b"-- as JSON\n")
    assert b"object 1 " in told
    assert b"clip\\udcff.mp4" in told
    with av.open(os.fsdecode(video)) as container:
        assert container.streams.video[0].frames == 2
    assert json.loads(Path(os.fsdecode(coco)).read_text())["categories"][0]["name"] == "é 🐶"
    assert os.fsencode(json.loads(as_json)["outputs"]["video"]) == video


@pytest.mark.slow
def test_a_label_that_is_no_text(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", 2)
    done = trackd("track", str(clip), "--box", "1:4,10,24,30", "--label", b"1:caf\xe9")
    assert done.returncode == 2
    assert b"is not UTF-8" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_an_interrupted_run_of_a_file_whose_name_is_no_text_goes_on(tmp_path):
    clip = os.fsencode(write_clip(tmp_path / "clip.mp4", 2))
    source = clip.replace(b"clip.mp4", b"clip\xff.mp4")
    os.rename(clip, source)  # noqa: PTH104 - bytes
    state = source.replace(b".mp4", b"-state")
    argv = ["track", source, "--box", "1:4,10,24,30", "--resume", state, "--quiet"]
    first, second = trackd(*argv), trackd(*argv)
    assert (first.returncode, first.stderr) == (0, b"")
    assert b"is finished" in second.stderr


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch):
    with daemon() as fake:
        monkeypatch.setenv("TRACKD_CONTROL", fake.control)
        monkeypatch.setenv("TRACKD_DATA", fake.data)
        monkeypatch.setenv("COLUMNS", "40")
        yield fake


@pytest.mark.slow
@pytest.mark.parametrize("environment", [{}, ASCII, CP1252])
def test_a_table_in_a_pipe_is_whole(fake, environment):
    long = "a-name-of-a-stream-that-takes-all-of-the-sixty-four-that-it-may1"
    fake.streams.append(stream_info(long, url=f"rtsp://10.0.0.5/{HOSTILE}", dropped=123_456_789))
    done = trackd("streams", **environment)
    text = done.stdout.decode()
    assert (done.returncode, done.stderr) == (0, b"")
    rows = [line.replace("|", " ").split() for line in text.splitlines()]  # ASCII has borders
    (row,) = [row for row in rows if row[:1] == [long]]
    assert row == [long, "running", "640x480", "30.0", "1", "100", "123456789", "0"]
    assert "…" not in text
    assert is_plain(text)
    assert "[red]x[/red] :dog:" in text
    listed = json.loads(trackd("streams", "--json", **environment).stdout)
    assert listed["streams"][-1]["url"].endswith(HOSTILE)


@pytest.mark.slow
def test_objects_of_a_daemon_in_ascii(fake):
    cup = ObjectInfo(id=2, label=f"🐶{HOSTILE}", state=ObjectState.LOST, score=0.0, box=None)
    fake.objects.append(cup)
    done = trackd("objects", "cam1", **ASCII)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"object 2 \\U0001f436?abc?[31m" in done.stdout
    listed = json.loads(trackd("objects", "cam1", "--json", **ASCII).stdout)
    assert listed["objects"][-1]["label"] == cup.label


@pytest.mark.slow
def test_the_table_of_the_evaluation_is_whole_in_a_pipe(tmp_path):
    from tests.tools.test_evaluate import write_sequence

    name = "a-sequence-with-a-name-so-long-that-eighty-columns-would-not-hold-it-[red]"
    write_sequence(tmp_path, name, frames=3)
    done = run("-m", "tools.evaluate", str(tmp_path), "--prompt", "mask", COLUMNS="40")
    assert done.returncode == 0, done.stderr
    (row,) = [line for line in done.stdout.decode().splitlines() if name in line]
    assert "…" not in done.stdout.decode()
    assert sum(cell.replace(".", "").isdigit() for cell in row.split()) >= 6
