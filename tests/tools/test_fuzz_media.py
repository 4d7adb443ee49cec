"""Broken media files: each gives frames or one typed error, and the fuzzer tells what does not."""

import os
import random
import signal
import threading
from pathlib import Path

import pytest

from tools.fuzz.media.campaign import Settings, Tally, Worker, report
from tools.fuzz.media.mutate import mutate
from tools.fuzz.media.reading import Outcome, ReadingProcess, Verdict
from tools.fuzz.media.seeds import CORPUS, RECIPES, seeds

pytestmark = pytest.mark.slow

CASES = 60  # at least one of each seed
CODECS = 10


@pytest.fixture(scope="module")
def originals() -> dict[str, bytes]:
    return seeds()


@pytest.fixture
def reader(tmp_path: Path):
    files = tmp_path / "files"
    files.mkdir()
    worker = Worker(Settings(1, 4096, 120.0, tmp_path / "faults"), files)
    yield worker
    worker.close()


def test_there_are_seeds_of_many_codecs_and_what_they_say_is_read(
    originals: dict[str, bytes], reader: Worker
) -> None:
    codecs = {recipe.codec for recipe in RECIPES if recipe.name in originals}
    assert len(codecs) >= CODECS
    assert sum(path.stat().st_size for path in CORPUS.iterdir()) < 500_000
    whole = {"png.mov": "8", "h264.mp4": "8", "mjpeg.avi": "8", "gif.gif": "8"}
    for name, frames in whole.items():
        assert reader.read(name, originals[name]) == Verdict(Outcome.FRAMES, frames), name
    tiles = reader.read("tiles.heic", originals["picture-in-tiles.heic"])
    assert tiles == Verdict(Outcome.REFUSED, "SourceUnreadable")


def test_broken_files_give_frames_or_one_typed_error(
    originals: dict[str, bytes], reader: Worker
) -> None:
    rng = random.Random(7)
    names, others = sorted(originals), list(originals.values())
    tally = Tally()
    for index in range(CASES):
        name = names[index % len(names)]
        verdict = reader.read(name, mutate(originals[name], others, rng))
        tally.note(name, verdict)
        assert verdict.outcome in (Outcome.FRAMES, Outcome.REFUSED), (name, verdict)
    assert tally.files == CASES
    assert f"# {CASES} broken media files" in report(tally, 7, 60.0, 1)


def test_mutations_break_files_and_are_the_same_each_time(originals: dict[str, bytes]) -> None:
    others = list(originals.values())
    data = originals["h264.mp4"]
    first = [mutate(data, others, random.Random(seed)) for seed in range(60)]
    assert first == [mutate(data, others, random.Random(seed)) for seed in range(60)]
    assert all(first)
    assert sum(broken != data for broken in first) > 50


def test_the_fuzzer_tells_a_hang(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.mp4"
    os.mkfifo(pipe)  # nobody writes to it
    with ReadingProcess(memory_mib=4096, patience_s=3.0) as process:
        assert process.read(pipe).outcome is Outcome.HANG
        assert not process.alive


def test_the_fuzzer_tells_a_crash(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.mp4"
    os.mkfifo(pipe)
    with ReadingProcess(memory_mib=4096, patience_s=120.0) as process:
        crash = threading.Timer(1.0, os.kill, (process.pid, signal.SIGSEGV))
        crash.start()
        assert process.read(pipe) == Verdict(Outcome.CRASH, f"signal {signal.SIGSEGV.value}")
        crash.join()


def test_what_is_at_fault_is_made_smaller(reader: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    def crashes_with_x(name: str, data: bytes) -> Verdict:
        return Verdict(Outcome.CRASH if b"x" in data else Outcome.FRAMES, "")

    monkeypatch.setattr(reader, "_read_alone", crashes_with_x)
    assert reader.shrink("clip.mp4", b"ab" * 10 + b"x" + b"cd" * 500, Outcome.CRASH) == (
        b"ab" * 10 + b"x"
    )
