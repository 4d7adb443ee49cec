"""Finder process, as its worker sees it: one search at a time, each with a time limit."""

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import tracker
from tracker.daemon.config.schema import ModelConfig
from tracker.daemon.finding.choice import ChosenFinder
from tracker.daemon.finding.messages import (
    MAX_MESSAGE_BYTES,
    Begun,
    Failed,
    Forget,
    Found,
    Search,
    Setup,
    from_finder,
    packed,
)
from tracker.daemon.finding.shared_picture import SharedPicture
from tracker.daemon.workers.channel import Channel, ChannelError
from tracker.errors import FinderError

#: For the process to start and a finder to load its model.
LOAD_S = 120.0
_STACKS_S = 0.5  # for the stacks of all threads to be written
_REAP_S = 5.0
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OPENCV_FOR_THREADS_NUM": "1"}


class FinderLostError(FinderError):
    """The process ended, hangs, or says what is no message: it is of no more use."""


class FinderProcess:
    """One life of the process.

    All but `kill` belongs to one thread.
    """

    def __init__(self, model: ModelConfig) -> None:
        """Start it; `model` is the one that tracks.

        Raises:
            OSError: The system gives no process, no memory, or no descriptors.
        """
        self._ids = itertools.count(1)
        self._picture = SharedPicture()
        ours, theirs = socket.socketpair()
        root = str(Path(tracker.__file__).parents[1])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        descriptors = theirs.fileno(), self._picture.descriptor
        try:
            with theirs:
                self._child = subprocess.Popen(
                    [
                        sys.executable,
                        *("-P", "-m", "tracker.daemon.finding.main"),
                        *map(str, descriptors),
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=descriptors,
                    env=os.environ | _ONE_THREAD | {"PYTHONPATH": path},
                )
        except OSError:
            ours.close()
            self._picture.close()
            raise
        self._channel = Channel(ours, max_bytes=MAX_MESSAGE_BYTES)
        with contextlib.suppress(ChannelError):  # a search finds out
            self._channel.send(packed(Setup(model=model)))

    @property
    def pid(self) -> int:
        """Its number in the system."""
        return self._child.pid

    def search(
        self, finder: ChosenFinder, image_hwc: NDArray[np.uint8], *, owner: str, wanted: bool
    ) -> Found:
        """Proposals on a picture, uint8 [H, W, 3]; waits for them.

        Raises:
            FinderError: The finder cannot be loaded, or raised.
            FinderLostError: The process does not answer in time, or is gone.
        """
        number, (height, width) = next(self._ids), image_hwc.shape[:2]
        request = Search(
            id=number,
            owner=owner if finder.spec.every_frame else "",
            finder=finder.spec.name,
            options=dict(finder.options),
            phrases=finder.phrases,
            height=height,
            width=width,
            wanted=wanted,
        )
        try:
            self._picture.write(image_hwc)
            self._channel.send(packed(request))
            return self._answer(finder, number)
        except ChannelError as err:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(_STACKS_S)
            how = f"it ended with code {self._child.returncode}" if self._child.returncode else err
            raise FinderLostError(f"the process of finder {finder.spec.name}: {how}") from err

    def forget(self, owner: str) -> None:
        """Give back what was learned from a stream's frames."""
        with contextlib.suppress(ChannelError):  # a search finds out
            self._channel.send(packed(Forget(owner=owner)))

    def kill(self, *, stacks: bool = False) -> None:
        """End it, whatever it does, once it wrote the `stacks` of its threads to the log."""
        if stacks and self._child.poll() is None:
            self._child.send_signal(signal.SIGUSR1)
            time.sleep(_STACKS_S)
        self._child.kill()

    def close(self) -> None:
        """End it, and give back what it has; belongs to the thread that searches."""
        self._child.kill()
        self._channel.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(_REAP_S)
        self._picture.close()

    def _answer(self, finder: ChosenFinder, number: int) -> Found:
        until_s, limit_s = time.monotonic() + LOAD_S, LOAD_S
        while True:
            parts = self._channel.receive(max(0.0, until_s - time.monotonic()))
            if parts is None:
                raise FinderLostError(f"finder {finder.spec.name} gave no answer in {limit_s:g} s")
            answer = from_finder(parts)
            if answer.id != number:
                raise ChannelError("an answer to another search")
            match answer:
                case Begun():
                    limit_s = finder.timeout_s
                    until_s = time.monotonic() + limit_s
                case Found():
                    return answer
                case Failed():
                    raise FinderError(answer.message, answer.hint)
