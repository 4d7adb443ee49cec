"""`trackd track --resume`: a run that was interrupted ends like one that was not."""

import json
import os
import shutil
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
from moving_scene import HEIGHT, WIDTH, frame

from streams import VideoWriter
from tracker.annotate import recorded
from tracker.cli.main import main

FRAMES = 14
PROMPTS = ("--box", "1:54,40,94,80@2", "--point", "1:88,60@9", "--label", "1:red")
OTHER = ("--box", "2:56,40,96,80@3", "--remove", "2@6")
OUTPUTS = ("--out", "out.mp4", "--davis", "masks", "--coco", "out.json")
ARGV = ("track", "clip.mp4", *PROMPTS, *OTHER, *OUTPUTS)
STOPPED_AT = 10
# Runs the command and, on frame STOPPED_AT, sends itself a signal.
SCRIPT = f"""
import os, sys
from tracker.annotate import recorded
from tracker.annotate.davis_writer import DavisWriter
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
    root = Path(__file__).parents[1]
    options = [str(int(number)), str(snapshot_every), *ARGV, "--resume", "state", "--quiet"]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *options],
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
    folder = tmp_path_factory.mktemp("whole")
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
    shutil.copy(clip, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


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


def test_half_a_line_at_the_end_does_no_harm(folder, uninterrupted, capsys):
    interrupt(folder, signal.SIGKILL, 4)
    with (folder / "state" / "results.jsonl").open("ab") as journal:
        journal.write(b'{"frame":11,"st')
    assert main([*ARGV, "--resume", "state"]) == 0
    assert capsys.readouterr().err.startswith(f"replay 1/{FRAMES}, ")
    assert written(folder) == uninterrupted


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
    assert "it ends after 6 of 11 frames; begin it anew" in line(capsys)
    (folder / "state" / "run.json").write_text("{")
    assert resumed(*ARGV) == 1
    assert "run.json is damaged" in line(capsys)


def test_a_folder_of_something_else_is_refused(folder, capsys):
    (folder / "state").mkdir()
    (folder / "state" / "notes.txt").write_text("mine")
    assert resumed(*ARGV) == 1
    assert "--resume state holds files already" in line(capsys)
    assert not (folder / "masks").exists()
