"""Record of a run: a JSON file, from which tables and plots are made.

It holds what was measured, sample by sample, and under what conditions; nothing that follows from
that by arithmetic.
"""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from tracker.atomic import write_atomically
from tracker.errors import OutputError, TrackdError

VERSION: Literal[1] = 1
Case = dict[str, int | str]
UNTIL_READY = "from the start of the daemon until it is ready"


class Part(BaseModel):
    """A piece of a record: what it does not know it refuses."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Machine(Part):
    """Machine that a run ran on.

    Attributes:
        cpu: Model of the processor.
        cpus: Logical processors that this process may use.
        memory_gib: Of the machine.
        accelerator: Model of the GPU that was used; None where it was the CPU.
        system: Operating system and kernel.
    """

    cpu: str
    cpus: int
    memory_gib: float
    accelerator: str | None
    system: str


class Subject(Part):
    """The model that was measured.

    Attributes:
        model: Its name, with the side of its input where that is not its own.
        weights: SHA-256 of the weights file, and where they are random, that they are.
        input_px: Side of the network's input.
        dtype: "fp32", "bf16" (autocast) or "int8" (the same, the image encoder quantized).
        device: torch's name of the device.
        threads: Threads of torch on the CPU.
    """

    model: str
    weights: str
    input_px: int
    dtype: str
    device: str
    threads: int


class Footage(Part):
    """The frames: a clip's file name, the size in pixels, whether decoding them was timed."""

    clip: str
    width: int
    height: int
    decoding_timed: bool


class Contender(Part):
    """One of those that took turns.

    Attributes:
        name: As in the series.
        how: What was called, and with what weights.
        versions: Of its packages.
        problem: Why it could not be measured, in one line; "" where it could.
    """

    name: str
    how: str
    versions: dict[str, str] = {}
    problem: str = ""


class Series(Part):
    """Samples of one quantity in one case, round by round."""

    name: str
    case: Case = {}
    unit: str
    rounds: tuple[tuple[float, ...], ...]

    @property
    def samples(self) -> list[float]:
        """Those of all rounds."""
        return [sample for one in self.rounds for sample in one]


class Fact(Part):
    """A quantity that was counted, or measured once."""

    name: str
    case: Case = {}
    unit: str
    value: float


class Run(Part):
    """One run of a suite.

    Attributes:
        suite: Its name.
        setting: What was chosen for it; a later run of the same suite and setting replaces it.
        command: What was typed.
        day: When, YYYY-MM-DD.
        machine: Where.
        versions: Of what ran it.
        subject: The model, if there is one.
        footage: The frames, if there are any.
        warm_up: Frames, or calls, before those that count.
        contenders: Those that took turns.
        series: What was sampled.
        facts: What was counted.
        notes: What else a reader must know.
        failure: What it was to show and did not; "" where it did.
    """

    suite: str
    setting: str
    command: str
    day: str
    machine: Machine
    versions: dict[str, str]
    subject: Subject | None = None
    footage: Footage | None = None
    warm_up: int = 0
    contenders: tuple[Contender, ...] = ()
    series: tuple[Series, ...] = ()
    facts: tuple[Fact, ...] = ()
    notes: tuple[str, ...] = ()
    failure: str = ""

    def find(self, name: str, **case: int | str) -> Series | None:
        """The series of that name whose case has those values."""
        return next((s for s in self.series if s.name == name and _holds(s.case, case)), None)

    def fact(self, name: str, **case: int | str) -> float | None:
        """The value of the fact of that name whose case has those values."""
        return next((f.value for f in self.facts if f.name == name and _holds(f.case, case)), None)

    def cases(self, key: str) -> list[int | str]:
        """The values of `key` in the cases, in the order in which they first come."""
        all_cases = [*(series.case for series in self.series), *(f.case for f in self.facts)]
        return list(dict.fromkeys(case[key] for case in all_cases if key in case))


def _holds(case: Case, wanted: Case) -> bool:
    return all(case.get(key) == value for key, value in wanted.items())


class Record(Part):
    """A file of runs."""

    version: Literal[1] = VERSION
    runs: tuple[Run, ...] = ()

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file; one that does not exist holds no runs.

        Raises:
            TrackdError: It cannot be read, or is no record of this version.
        """
        if not path.exists():
            return cls()
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as err:
            raise TrackdError(f"cannot read {path}: {err.strerror}") from err
        except ValidationError as err:
            first = err.errors()[0]
            where = ".".join(str(key) for key in first["loc"])
            raise TrackdError(
                f"{path} is no record of benchmarks, version {VERSION}: {where}: {first['msg']}",
                "move it away, or measure into another --out FILE",
            ) from err

    def keeping(self, run: Run) -> Self:
        """This record with `run`, in place of an earlier one of the same suite and setting."""
        kept = [old for old in self.runs if (old.suite, old.setting) != (run.suite, run.setting)]
        return type(self)(runs=(*kept, run))

    def write(self, path: Path) -> None:
        """Write the file, a run a line, and its folder where it is missing.

        Raises:
            OutputError: It cannot be written; what was there is still there.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, self._text().encode())
        except OSError as err:
            raise OutputError(f"cannot write {path}: {err.strerror}", "give another --out") from err

    def _text(self) -> str:
        runs = ",\n".join(run.model_dump_json() for run in self.runs)
        return f'{{"version": {self.version}, "runs": [\n{runs}\n]}}\n'
