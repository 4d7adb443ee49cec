"""Our side of the conversation with a peer: its folder, its process, its answers."""

import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tools.bench.models import CACHE
from tools.bench.peers.catalogue import Peer
from tracker.errors import TrackdError
from tracker.process import prepare_process

ROOT = Path(__file__).parents[3]
ANSWER_TIMEOUT_S = 900.0
LAST_WORDS_S = 10.0
_INSTALL_TIMEOUT_S = 600.0
_SHOWN = 200


class PeerError(TrackdError):
    """A peer that cannot be installed, or started, or that gave up."""


def install(peer: Peer) -> Path | None:
    """Install what the peer alone needs, once; return the folder, None where it needs nothing.

    pip is told by its own variables where to look: PIP_NO_INDEX=1 and PIP_FIND_LINKS=DIR for a
    machine without a network.

    Raises:
        PeerError: pip could not; its last line says why.
    """
    if not peer.needs:
        return None
    folder = CACHE / "peers" / peer.name
    done = folder / ".installed"
    wanted = "\n".join(peer.needs)
    if done.is_file() and done.read_text() == wanted:
        return folder
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    command = [*pip, "--no-deps", "--upgrade", "--target", str(folder), *peer.needs]
    try:
        subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=_INSTALL_TIMEOUT_S
        )
    except subprocess.CalledProcessError as err:
        raise PeerError(f"pip cannot install it: {_last_line(err.stderr)}") from err
    except (OSError, subprocess.TimeoutExpired) as err:
        raise PeerError(f"pip did not install it: {_last_line(str(err))}") from err
    done.write_text(wanted)
    return folder


class PeerProcess:
    """A peer that runs; as a context manager it ends with the block."""

    def __init__(
        self, peer: Peer, *, model: str, dtype: str, device: str, clock: str = "wall"
    ) -> None:
        """Start it, and wait until its model is loaded.

        Args:
            peer: Which one.
            model: A name of `tools.bench.models.find_weights`.
            dtype: Precision, unless the peer has its own.
            device: Of torch.
            clock: Of a frame's time, see `tools.bench.peers.worker.CLOCKS`.

        Raises:
            PeerError: It cannot be installed or started.
        """
        folder = install(peer)
        prepare_process()  # what it sets in the environment, the peer's torch finds when it loads
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        options = ["--model", model, "--dtype", peer.dtype or dtype, "--device", device]
        options += ["--clock", clock]
        self._process = subprocess.Popen(
            [sys.executable, "-m", peer.module, *peer.arguments, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=os.environ | {"PYTHONPATH": _path(folder)},
        )
        self._unread = b""
        try:
            self.about = self._answer()
        except PeerError:
            self.close()
            raise

    def start(self, frames: Path, masks: Path, warm_up: int) -> None:
        """Let it begin again and warm up.

        Raises:
            PeerError: It gave up.
        """
        self._ask(do="start", frames=str(frames), masks=str(masks), warm_up=warm_up)
        self._answer()

    def step(self, frames: int, *, uncounted: int = 0) -> tuple[float, ...]:
        """Milliseconds of each of the next frames, after some that do not count.

        Raises:
            PeerError: It gave up.
        """
        self._ask(do="step", frames=uncounted + frames)
        times = [float(self._answer()["ms"]) for _ in range(uncounted + frames)]
        return tuple(times[uncounted:])

    def peak_mib(self) -> float:
        """The most memory that it took since it began again.

        Raises:
            PeerError: It gave up.
        """
        self._ask(do="peak")
        return float(self._answer()["peak_mib"])

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(self, **order: Any) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as err:
            raise PeerError(f"its process ended: {self._last_words()}") from err

    def _answer(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._line())
        if "problem" in answer:
            raise PeerError(answer["problem"])
        return answer

    def _line(self) -> bytes:
        """The next line that it says."""
        assert self._process.stdout is not None
        deadline_s = time.monotonic() + ANSWER_TIMEOUT_S
        with selectors.DefaultSelector() as ready:
            ready.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                if not ready.select(max(0.0, deadline_s - time.monotonic())):
                    raise PeerError(f"no answer within {ANSWER_TIMEOUT_S:g} s")
                piece = os.read(self._process.stdout.fileno(), 1 << 16)
                if not piece:
                    raise PeerError(f"its process ended: {self._last_words()}")
                self._unread += piece
        line, self._unread = self._unread.split(b"\n", 1)
        return line

    def _last_words(self) -> str:
        with suppress(subprocess.TimeoutExpired):  # it may close its output before it says why
            self._process.wait(timeout=LAST_WORDS_S)
        self._log.seek(0)
        return _last_line(self._log.read().decode(errors="replace"))


def _path(folder: Path | None) -> str:
    """PYTHONPATH of a peer: its own folder comes first, before ours and what is installed."""
    ours = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.pathsep.join([*([str(folder.resolve())] if folder else []), *ours])


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:_SHOWN] if lines else "it said nothing"
