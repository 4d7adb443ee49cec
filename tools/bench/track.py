"""Cost of tracking, ours and that of others: ms a frame by number of objects.

Ours, ours with one object in a pass, and peers, each in a process of its own. All begin a video,
warm up until their memories are full, and then take turns of a few frames, A B C A B C, so that a
machine that changes its speed changes it for all. A frame's time is that of everything from the
picture to bool masks at its size; decoding is left out.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tools.bench import options as common
from tools.bench.conditions import Conditions, conditions_of
from tools.bench.footage import find_clip, first_frames, square_masks
from tools.bench.peers.catalogue import PEERS, Peer
from tools.bench.peers.process import PeerError, PeerProcess
from tools.bench.peers.worker import CLOCKS
from tools.bench.record import Contender, Fact, Footage, Run, Series
from tracker.errors import UsageError

HELP = "ms a frame over the number of objects, ours and peers in turns"
QUICK = {"model": "pico@128", "objects": (1, 2), "rounds": 2, "frames": 2, "warm_up": 2}
OURS = "ours"
_CPU_NOTE = "Times are processor time of one thread, since others used the machine."
UNCOUNTED = 1  # frames at the start of a turn, while caches fill that others have used


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this suite."""
    common.add_model(parser)
    common.add_clip(parser)
    common.add_rounds(parser, rounds=5, frames=4, warm_up=18)
    parser.add_argument(
        "--clock",
        choices=CLOCKS,
        default="wall",
        help="cpu: processor time, for a machine that others use too; with one thread",
    )
    parser.add_argument("--objects", type=common.wholes, default=(1, 2, 4, 8, 16, 32))
    parser.add_argument(
        "--against",
        type=common.names,
        default=("ours-unbatched", "official"),
        metavar="A,B",
        help=f"of {', '.join(name for name in PEERS if name != OURS)}",
    )


def measure(options: argparse.Namespace) -> Run:
    """Let all of them track.

    Raises:
        UsageError: A peer is unknown, or something else of what was asked for.
        TrackdError: Ours cannot run.
    """
    peers = [PEERS[OURS], *(_find(name) for name in options.against)]
    conditions = conditions_of(options)
    clip = find_clip(options.clip)
    count = 1 + options.warm_up + options.rounds * (UNCOUNTED + options.frames)
    frames_nhwc = first_frames(clip, count, options.size)
    frames_nhwc = frames_nhwc[np.arange(count) % len(frames_nhwc)]
    _, height, width, _ = frames_nhwc.shape
    turns = Turns(options.rounds, options.frames, options.warm_up)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        np.save(folder / "frames.npy", frames_nhwc)
        for peer in peers:
            turns.admit(stack, peer, options, conditions)
        for objects in options.objects:
            np.save(folder / "masks.npy", square_masks(objects, height, width))
            turns.take(objects, folder)
    names = ", ".join(peer.name for peer in peers)
    counts = " ".join(str(count) for count in options.objects)
    return conditions.run(
        suite="track",
        setting=f"{options.model} {conditions.dtype}, {counts} objects: {names}",
        notes=() if options.clock == "wall" else (_CPU_NOTE,),
        footage=Footage(clip=clip.name, width=width, height=height, decoding_timed=False),
        warm_up=options.warm_up,
        contenders=tuple(turns.contenders.values()),
        series=tuple(turns.series),
        facts=tuple(turns.facts),
    )


def _find(name: str) -> Peer:
    if name not in PEERS or name == OURS:
        known = ", ".join(known for known in PEERS if known != OURS)
        raise UsageError(f"there is no peer {name!r}", f"choose of {known}")
    return PEERS[name]


@dataclass
class Turns:
    """Those that take turns, and what came of it."""

    rounds: int
    frames: int
    warm_up: int
    processes: dict[str, PeerProcess] = field(default_factory=dict)
    contenders: dict[str, Contender] = field(default_factory=dict)
    series: list[Series] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)

    def admit(
        self, stack: ExitStack, peer: Peer, options: argparse.Namespace, conditions: Conditions
    ) -> None:
        """Start a peer, or note why it cannot be."""
        self.contenders[peer.name] = Contender(name=peer.name, how=peer.how)
        _say(f"starting {peer.name}")
        with self._failures_of(peer.name):
            process = stack.enter_context(
                PeerProcess(
                    peer,
                    model=options.model,
                    dtype=conditions.dtype,
                    device=options.device,
                    clock=options.clock,
                )
            )
            about = process.about
            self.processes[peer.name] = process
            self.contenders[peer.name] = Contender(
                name=peer.name,
                how=f"{about['model']} at {about['input']}, {about['weights']} weights; {peer.how}",
                versions=about["versions"],
            )

    def take(self, objects: int, folder: Path) -> None:
        """Let all track so many objects."""
        times: dict[str, list[tuple[float, ...]]] = {name: [] for name in self.processes}
        for name in times:
            with self._failures_of(name):
                self.processes[name].start(
                    folder / "frames.npy", folder / "masks.npy", self.warm_up
                )
        for _ in range(self.rounds):
            for name in [name for name in times if name in self.processes]:
                with self._failures_of(name):
                    times[name].append(self.processes[name].step(self.frames, uncounted=UNCOUNTED))
        for name in [name for name in times if name in self.processes]:
            self._keep(name, objects, tuple(times[name]))

    def _keep(self, name: str, objects: int, rounds: tuple[tuple[float, ...], ...]) -> None:
        case: dict[str, int | str] = {"objects": objects}
        series = Series(name=name, case=case, unit="ms", rounds=rounds)
        self.series.append(series)
        _say(f"{objects} objects, {name}: {np.median(series.samples):.1f} ms")
        with self._failures_of(name):
            peak = self.processes[name].peak_mib()
            self.facts.append(Fact(name=f"peak of {name}", case=case, unit="MiB", value=peak))

    @contextmanager
    def _failures_of(self, name: str) -> Iterator[None]:
        """Note why a peer gave up, and go on without it; not without ours."""
        try:
            yield
        except PeerError as err:
            if name == OURS:
                raise
            _say(f"{name} gave up: {err}")
            self.processes.pop(name, None)
            self.contenders[name] = self.contenders[name].model_copy(update={"problem": str(err)})


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
