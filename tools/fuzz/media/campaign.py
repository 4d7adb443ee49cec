"""Feeds broken media files to trackd's sources: `python -m tools.fuzz.media --minutes 30`.

Small files of many codecs and containers are broken in many ways: bytes flipped, cut, repeated and
spliced, lengths changed. Child processes with a limit on their memory read every frame, and
collect garbage in between. A file may give frames or one typed error of one line; a crash, a hang
or another exception is a fault. Files at fault are made smaller and kept. The files are the same
for the same --seed, as far as the time reaches.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tools.fuzz.media.mutate import mutate
from tools.fuzz.media.reading import FAULTS, Outcome, ReadingProcess, Verdict
from tools.fuzz.media.seeds import seeds

_FILES_A_PROCESS = 200  # then a new one: damage to its memory must not be blamed on later files
_MAX_SHRINKS = 40
_SLOWER = 3  # a file that hangs is given so many times longer, alone
_SHOWN_FAULTS = 20


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings for reading the files."""

    workers: int
    memory_mib: int
    patience_s: float
    keep: Path


@dataclass(slots=True)
class Tally:
    """Tally of the outcomes of all files.

    Attributes:
        outcomes: Files by seed and outcome.
        details: Files by outcome and detail, frame counts left out.
        faults: One line each.
    """

    outcomes: Counter[tuple[str, Outcome]] = field(default_factory=Counter)
    details: Counter[tuple[Outcome, str]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    @property
    def files(self) -> int:
        """Number of files that were read."""
        return sum(self.outcomes.values())

    def note(self, seed: str, verdict: Verdict) -> None:
        """Count a file."""
        self.outcomes[seed, verdict.outcome] += 1
        detail = "" if verdict.outcome is Outcome.FRAMES else verdict.detail
        self.details[verdict.outcome, detail] += 1


class Worker:
    """Reads files in child processes, and looks into those at fault."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        self._process: ReadingProcess | None = None

    def read(self, name: str, data: bytes) -> Verdict:
        """Read a file of this name and content; a hang or crash counts if it comes again."""
        verdict = self._read_on(name, data)
        if verdict.outcome in FAULTS:
            return self._read_alone(name, data)
        return verdict

    def shrink(self, name: str, data: bytes, outcome: Outcome) -> bytes:
        """Return a smaller file that is at fault in the same way, if one is soon found."""
        piece = len(data) // 2
        for _ in range(_MAX_SHRINKS):
            if piece == 0:
                break
            smaller = data[:-piece]
            if smaller and self._read_alone(name, smaller).outcome is outcome:
                data = smaller
            else:
                piece //= 2
        return data

    def close(self) -> None:
        """End the child process."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def _read_on(self, name: str, data: bytes) -> Verdict:
        process = self._process
        if process is None or not process.alive or process.files >= _FILES_A_PROCESS:
            self.close()
            process = self._process = self._new_process(self._settings.patience_s)
        return process.read(self._write(name, data))

    def _read_alone(self, name: str, data: bytes) -> Verdict:
        with self._new_process(_SLOWER * self._settings.patience_s) as process:
            return process.read(self._write(name, data))

    def _new_process(self, patience_s: float) -> ReadingProcess:
        return ReadingProcess(memory_mib=self._settings.memory_mib, patience_s=patience_s)

    def _write(self, name: str, data: bytes) -> Path:
        for old in self._folder.iterdir():
            old.unlink()
        path = self._folder / name
        path.write_bytes(data)
        return path


def cases(seed: int, worker: int) -> Iterator[tuple[str, bytes]]:
    """Yield the seeds themselves, then broken ones without end."""
    originals = seeds()
    names = sorted(originals)
    rng = random.Random(f"{seed}-{worker}")
    if worker == 0:
        yield from originals.items()
    others = list(originals.values())
    while True:
        name = rng.choice(names)
        yield name, mutate(originals[name], others, rng)


def fuzz(settings: Settings, seed: int, worker: int, until_s: float, tally: Tally) -> None:
    """Read cases until `time.monotonic()` is `until_s`, and keep those at fault."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        reader = Worker(settings, Path(folder))
        try:
            for name, data in cases(seed, worker):
                if time.monotonic() > until_s:
                    return
                verdict = reader.read(name, data)
                tally.note(name, verdict)
                if verdict.outcome in FAULTS:
                    kept = settings.keep / f"{worker}-{tally.files}-{name}"
                    settings.keep.mkdir(parents=True, exist_ok=True)
                    kept.write_bytes(reader.shrink(name, data, verdict.outcome))
                    tally.faults.append(f"{kept}: {verdict.outcome}, {verdict.detail}")
                    print(f"fault: {tally.faults[-1]}", file=sys.stderr)
        finally:
            reader.close()


def report(tally: Tally, seed: int, spent_s: float, workers: int) -> str:
    """Return what came of it, as Markdown."""
    totals = Counter[Outcome]()
    for (_, outcome), count in tally.outcomes.items():
        totals[outcome] += count
    lines = [
        f"# {tally.files} broken media files",
        "",
        f"`python -m tools.fuzz.media --seed {seed}`, {workers} processes, {spent_s / 60:.1f} min.",
        "",
        "| outcome | files |",
        "|---|---:|",
        *(f"| {outcome} | {totals[outcome]} |" for outcome in Outcome),
        "",
        "| error or signal | files |",
        "|---|---:|",
        *(
            f"| {outcome}: {detail} | {count} |"
            for (outcome, detail), count in tally.details.most_common()
            if detail
        ),
        "",
        "| file that was broken | frames | one typed error | faults |",
        "|---|---:|---:|---:|",
    ]
    for name in sorted({name for name, _ in tally.outcomes}):
        counts = [tally.outcomes[name, outcome] for outcome in Outcome]
        lines.append(f"| {name} | {counts[0]} | {counts[1]} | {sum(counts[2:])} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Fuzz, print and record what came of it; 1 where there was a fault."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.fuzz.media",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory-mib", type=int, default=4096, help="of each process")
    parser.add_argument("--patience", type=float, default=30.0, metavar="S", help="then it hangs")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-faults"), help="folder for faults")
    parser.add_argument("--record", type=Path, metavar="FILE.md", help="write the report there")
    args = parser.parse_args()
    settings = Settings(args.workers, args.memory_mib, args.patience, args.keep)
    tally, begun_s = Tally(), time.monotonic()
    until_s = begun_s + 60 * args.minutes
    with ThreadPoolExecutor(args.workers) as pool:
        running = [
            pool.submit(fuzz, settings, args.seed, worker, until_s, tally)
            for worker in range(args.workers)
        ]
        for future in running:
            future.result()
    text = report(tally, args.seed, time.monotonic() - begun_s, args.workers)
    print(text)
    for line in tally.faults[:_SHOWN_FAULTS]:
        print(f"fault: {line}", file=sys.stderr)
    if args.record is not None:
        args.record.write_text(text, encoding="utf-8")
    return int(bool(tally.faults))
