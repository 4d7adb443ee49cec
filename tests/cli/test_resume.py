"""`trackd track --resume`: a run that was interrupted ends like one that was not."""

import http.server
import itertools
import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from streams import VideoWriter
from tests.support.moving_scene import HEIGHT, WIDTH, frame
from tests.support.small_pico import small_pico_of
from tests.support.warm_python import python
from tracker.annotate import recorded
from tracker.cli.main import main

FRAMES = 14
PROMPTS = ("--box", "1:54,40,94,80@2", "--point", "1:88,60@9", "--label", "1:red")
OTHER = ("--box", "2:56,40,96,80@3", "--remove", "2@6")
OUTPUTS = ("--out", "out.mp4", "--davis", "masks", "--coco", "out.json")
MODEL = ("--checkpoint", "../model/small.safetensors")
ARGV = ("track", "clip.mp4", *PROMPTS, *OTHER, *OUTPUTS, *MODEL)
STOPPED_AT = 10
# Runs the command and, on frame STOPPED_AT, sends itself a signal.
SCRIPT = f"""
import os, sys
from tracker.annotate import recorded
from tracker.exporters.davis import DavisWriter
from tracker.cli.main import main

number, every, *argv = sys.argv[1:]
recorded.SNAPSHOT_EVERY = int(every)
write = DavisWriter.write

def write_and_stop(self, frame, result):
    write(self, frame, result)
    if frame.seq == {STOPPED_AT}:
        os.kill(os.getpid(), int(number))

DavisWriter.write = write_and_stop
sys.exit(main(argv))
"""


def resumed(*argv: str) -> int:
    return main([*argv, "--resume", "state", "--quiet"])


def interrupt(folder: Path, number: signal.Signals, snapshot_every: int) -> int:
    """Run the command in another process, in `folder`, up to a signal; its exit code."""
    root = Path(__file__).parents[2]
    options = [str(int(number)), str(snapshot_every), *ARGV, "--resume", "state", "--quiet"]
    done = subprocess.run(
        [*python(), "-c", SCRIPT, *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode


def written(folder: Path) -> dict[str, bytes]:
    """All outputs of a run."""
    names = ["out.mp4", "out.json", *(f"masks/{i:05d}.png" for i in range(FRAMES))]
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        ["clip.mp4", "masks", "out.json", "out.mp4", *(["state"] * (folder / "state").exists())]
    )
    assert len(list((folder / "masks").iterdir())) == FRAMES
    return {name: (folder / name).read_bytes() for name in names}


def line(capsys: pytest.CaptureFixture) -> str:
    (text,) = capsys.readouterr().err.splitlines()
    return text


def beside_model(folder: Path) -> Path:
    """A new folder to run in, beside that of `MODEL`."""
    small_pico_of(folder / "model")
    (folder / "run").mkdir()
    return folder / "run"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "clip.mp4"
    with VideoWriter(path, width=WIDTH, height=HEIGHT, fps=Fraction(25)) as video:
        for index in range(FRAMES):
            video.write(frame(2 * index), index, Fraction(1, 25))
    return path


@pytest.fixture(scope="module")
def uninterrupted(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The outputs of the command without --resume."""
    folder = beside_model(tmp_path_factory.mktemp("whole"))
    shutil.copy(clip, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main([*ARGV, "--quiet"]) == 0
    first, second = json.loads((folder / "out.json").read_text())["annotations"]
    assert [mask is not None for mask in first["segmentations"]] == [False] * 2 + [True] * 12
    assert [i for i, mask in enumerate(second["segmentations"]) if mask] == [3, 4, 5]
    return written(folder)


@pytest.fixture
def folder(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = beside_model(tmp_path)
    shutil.copy(clip, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "snapshot_every", "replayed"),
    [
        (signal.SIGINT, 100, STOPPED_AT + 1),
        (signal.SIGKILL, 4, 8),
        (signal.SIGKILL, 100, 0),
    ],
)
def test_a_resumed_run_writes_the_same_bytes(
    folder, uninterrupted, capsys, number, snapshot_every, replayed
):
    code = interrupt(folder, number, snapshot_every)
    assert code == (130 if number == signal.SIGINT else -signal.SIGKILL)
    assert resumed(*ARGV, "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["frames"], summary["replayed"]) == (FRAMES, replayed)
    assert written(folder) == uninterrupted
    assert sorted(p.name for p in (folder / "state").iterdir()) == ["results.jsonl", "run.json"]

    assert resumed(*ARGV) == 2
    assert "the run in state is finished; to run it again, delete the folder" in line(capsys)


@pytest.mark.slow
def test_a_run_is_interrupted_many_times(folder, uninterrupted, capsys, monkeypatch):
    monkeypatch.setattr(recorded, "SNAPSHOT_EVERY", 3)
    for allowed in (5, 2, 12, 99):  # the second is interrupted while it replays
        frames = 0

        def stop_asked(allowed: int = allowed) -> bool:
            nonlocal frames
            frames += 1
            return frames > allowed

        monkeypatch.setattr("tracker.cli.interrupt.stop_on_signal", lambda: Stop(stop_asked))
        assert resumed(*ARGV) == (0 if allowed > FRAMES else 130)
    assert written(folder) == uninterrupted
    assert "the same command goes on from here" in capsys.readouterr().out


class Stop:
    def __init__(self, asked):
        self.asked = asked

    def __enter__(self):
        return self.asked

    def __exit__(self, *error):
        return None


def after(frames: int) -> Callable[[], bool]:
    """Asks to stop after so many frames."""
    asked = itertools.count()
    return lambda: next(asked) >= frames


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Python's own server, which gives no parts of files."""

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.slow
def test_half_a_line_at_the_end_does_no_harm(folder, uninterrupted, capsys):
    interrupt(folder, signal.SIGKILL, 4)
    with (folder / "state" / "results.jsonl").open("ab") as journal:
        journal.write(b'{"frame":11,"st')
    assert main([*ARGV, "--resume", "state"]) == 0
    assert capsys.readouterr().err.startswith(f"replay 1/{FRAMES}, ")
    assert written(folder) == uninterrupted


@pytest.mark.slow
def test_another_run_or_a_damaged_one_is_refused_and_nothing_changes(folder, capsys):
    assert interrupt(folder, signal.SIGINT, 100) == 130

    def state() -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    before = state()
    for argv, code, says in (
        ((*ARGV, "--stop", "12"), 2, "state holds another run: it differs in plan;"),
        ((*ARGV, "--point", "3:9,9@4"), 2, "it differs in plan;"),
        ((*ARGV, "--policy", "official"), 2, "it differs in policy;"),
        ((*ARGV, "--out", "other.mp4"), 2, "it differs in outputs;"),
        (("track", "lavfi:testsrc2=size=128x96", *ARGV[2:]), 2, "it differs in source, "),
    ):
        assert resumed(*argv) == code
        assert says in line(capsys)
        assert state() == before

    results = folder / "state" / "results.jsonl"
    results.write_bytes(b"".join(results.read_bytes().splitlines(keepends=True)[:6]))
    assert resumed(*ARGV) == 1
    assert "it ends after 6 of 11 frames; begin it again" in line(capsys)
    (folder / "state" / "run.json").write_text("{")
    assert resumed(*ARGV) == 1
    assert "run.json is damaged" in line(capsys)


@pytest.mark.slow
def test_a_source_that_was_exchanged_is_refused(folder, capsys):
    assert interrupt(folder, signal.SIGINT, 100) == 130
    status, content = (folder / "clip.mp4").stat(), (folder / "clip.mp4").read_bytes()
    for at in (len(content) // 2, len(content) - 1):
        other = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        (folder / "clip.mp4").write_bytes(other)
        os.utime(folder / "clip.mp4", ns=(status.st_atime_ns, status.st_mtime_ns))
        assert resumed(*ARGV) == 2
        text = line(capsys)
        assert "clip.mp4 is not what it was when the run in state began" in text
        assert "differs in content" in text
    (folder / "clip.mp4").write_bytes(content)
    os.utime(folder / "clip.mp4", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert resumed(*ARGV) == 0


@pytest.mark.slow
def test_a_folder_resumes_over_a_damaged_picture_but_not_over_another_folder(
    tmp_path, monkeypatch, capsys
):
    tmp_path = beside_model(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shots").mkdir()
    names = [f"{5 * index:05d}.png" for index in range(8)]
    for index, name in enumerate(names):
        Image.fromarray(frame(2 * index)).save(tmp_path / "shots" / name)
    damaged = tmp_path / "shots" / names[3]
    damaged.write_bytes(damaged.read_bytes()[:-100])
    argv = ["track", "shots", "--box", "1:52,40,92,80@name:00005", "--remove", "1@3", "--quiet"]
    argv += ["--box", "1:60,40,100,80@name:00025", *MODEL]
    assert main([*argv, "--davis", "whole", "--coco", "whole.json"]) == 0

    argv += ["--davis", "masks", "--coco", "out.json", "--resume", "state"]
    for frames in (2, 5):  # the second time it stops after the damaged one
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tracker.cli.interrupt.stop_on_signal", lambda n=frames: Stop(after(n)))
            assert main(argv) == 130

    exchanged = tmp_path / "shots" / names[6]
    status, content = exchanged.stat(), exchanged.read_bytes()
    exchanged.write_bytes(content[:-20] + bytes([content[-20] ^ 1]) + content[-19:])
    os.utime(exchanged, ns=(status.st_atime_ns, status.st_mtime_ns))
    capsys.readouterr()
    assert main(argv) == 2
    assert "shots is not what it was when the run in state began" in line(capsys)
    exchanged.write_bytes(content)
    os.utime(exchanged, ns=(status.st_atime_ns, status.st_mtime_ns))

    assert main([*argv, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["frames"], summary["replayed"]) == (7, 5)
    assert summary["damaged_pictures"] == {"count": 1, "names": [names[3]]}
    assert (tmp_path / "out.json").read_bytes() == (tmp_path / "whole.json").read_bytes()
    masks = {p.name: p.read_bytes() for p in (tmp_path / "masks").iterdir()}
    assert masks == {p.name: p.read_bytes() for p in (tmp_path / "whole").iterdir()}
    assert sorted(masks) == [name for name in names if name != names[3]]


@pytest.mark.slow
def test_a_state_of_another_version_is_refused_and_holds_no_credentials(folder, capsys):
    assert interrupt(folder, signal.SIGINT, 100) == 130
    path = folder / "state" / "run.json"
    description = json.loads(path.read_text())
    for version, age in ((1, "an older"), (99, "a newer")):
        path.write_text(json.dumps({"version": version, "anything": True}))
        assert resumed(*ARGV) == 1
        text = line(capsys)
        assert f"state was written by {age} version of trackd (state version {version}," in text
        assert "finish the run with that version, or delete the folder" in text
    path.write_text(json.dumps(description))
    assert resumed(*ARGV) == 0


@pytest.mark.slow
def test_a_clip_on_a_server_resumes_unless_it_was_exchanged(folder, uninterrupted, capsys):
    handler = partial(QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        argv = list(ARGV)
        argv[1] = f"http://me:topsecret@127.0.0.1:{server.server_port}/clip.mp4?token=alsosecret"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tracker.cli.interrupt.stop_on_signal", lambda: Stop(after(5)))
            assert resumed(*argv) == 130
        state = b"".join(p.read_bytes() for p in (folder / "state").iterdir())
        assert b"secret" not in state
        status, content = (folder / "clip.mp4").stat(), (folder / "clip.mp4").read_bytes()
        at = len(content) - 200
        (folder / "clip.mp4").write_bytes(content[:at] + bytes(100) + content[at + 100 :])
        os.utime(folder / "clip.mp4", ns=(status.st_atime_ns, status.st_mtime_ns))
        capsys.readouterr()
        assert resumed(*argv) == 2
        text = line(capsys)
        assert "clip.mp4?*** is not what it was when the run in state began" in text
        (folder / "clip.mp4").write_bytes(content)
        assert resumed(*argv) == 0
        server.shutdown()
    assert {name: (folder / name).read_bytes() for name in uninterrupted} == uninterrupted


def test_a_folder_of_something_else_is_refused(folder, capsys):
    (folder / "state").mkdir()
    (folder / "state" / "notes.txt").write_text("mine")
    assert resumed(*ARGV) == 1
    assert "--resume state holds files already" in line(capsys)
    assert not (folder / "masks").exists()
