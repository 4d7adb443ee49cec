"""A process that reads media files as trackd does, and says what became of each."""

import contextlib
import gc
import json
import resource
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

_MAX_FRAMES = 300
_COLLECT_EVERY = 4


class Outcome(StrEnum):
    """Outcome of reading a file; the last three are faults."""

    FRAMES = "frames"
    REFUSED = "one typed error"
    UNTYPED = "untyped exception"
    CRASH = "crash"
    HANG = "hang"


FAULTS = (Outcome.UNTYPED, Outcome.CRASH, Outcome.HANG)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Verdict on one file: its outcome, and which error, signal or how many frames."""

    outcome: Outcome
    detail: str


class ReadingProcess:
    """One child process that reads files one after the other, with a limit on its memory."""

    def __init__(self, *, memory_mib: int, patience_s: float) -> None:
        self._patience_s = patience_s
        self._process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, str(memory_mib)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.files = 0

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """True if it can read another file."""
        return self._process.poll() is None

    def read(self, path: Path) -> Verdict:
        """Have a file read; where that ends or stops the process, it is not alive any more."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self.files += 1
        hung = threading.Event()

        def kill() -> None:
            hung.set()
            self._process.kill()

        timer = threading.Timer(self._patience_s, kill)
        timer.start()
        try:
            self._process.stdin.write(f"{path}\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            timer.cancel()
        if line:
            told = json.loads(line)
            return Verdict(Outcome(told["outcome"]), told["detail"])
        code = self._process.wait()
        if hung.is_set():
            return Verdict(Outcome.HANG, f"no answer in {self._patience_s:g} s")
        return Verdict(Outcome.CRASH, f"signal {-code}" if code < 0 else f"exit status {code}")

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read(path: Path) -> Verdict:
    """Read every frame of a file, and of the folder that it is alone in where it is an image."""
    from streams import StreamError
    from streams.decode.image import SUFFIXES

    frames = 0
    try:
        frames += _frames_of(path)
        if path.suffix in SUFFIXES:
            frames += _frames_of(path.parent)
    except StreamError as error:
        text = str(error)
        if "\n" in text or not error.hint:
            return Verdict(Outcome.UNTYPED, f"not one line with a hint: {text!r}")
        return Verdict(Outcome.REFUSED, type(error).__name__)
    except Exception as error:
        return Verdict(Outcome.UNTYPED, f"{type(error).__name__}: {error}"[:200])
    finally:
        gc.collect()
    return Verdict(Outcome.FRAMES, str(frames))


def _frames_of(path: Path) -> int:
    from streams import open_source

    count = 0
    with open_source(str(path)) as source:
        gc.collect()
        for frame in source:
            count += 1
            assert frame.image.ndim == 3 and frame.image.flags.c_contiguous
            frame.image.sum()  # every byte can be read
            if count % _COLLECT_EVERY == 0:
                gc.collect()
            if count >= _MAX_FRAMES:
                break
    return count


def _answer(told: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def main() -> int:
    """Read the files that the standard input names, one a line."""
    limit = int(sys.argv[1]) * 2**20
    with contextlib.suppress(ValueError, OSError):  # not every system limits it
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        _answer(asdict(read(Path(line.rstrip("\n")))))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
