"""Shows a deadline kept while objects come and go: `python -m tools.bench.deadline CLIP`.

`trackd serve` plays a clip in real time, in a loop, on a stream with a deadline; this process
subscribes, prompts one object after the other up to `--objects`, waits, removes all but one, and
waits for full effort. Objects are boxes on a grid, whatever lies there: it is their cost that
counts. Daemon and subscriber share this machine. Written are every second's frames, objects and
rung as JSON, and a plot of them.
"""

import argparse
import json
import os
import platform
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from streams.source import open_source
from tools.serving import Daemon
from tracker.client import Client, Result
from tracker.protocol.fields import DeadlineSettings

RESULTS = Path(__file__).parent / "results"
STREAM = "clip"
GRID = (8, 4)  # boxes across and down


def main() -> int:
    """Run, write what was seen and print a summary."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.deadline", description=__doc__)
    parser.add_argument("clip", type=Path, help="a video file")
    parser.add_argument("--fps", type=float, default=15.0, help="the deadline")
    parser.add_argument("--objects", type=int, default=32, help="at the most, up to 32")
    parser.add_argument("--step-s", type=float, default=1.0, help="from one object to the next")
    parser.add_argument("--hold-s", type=float, default=20.0, help="with one, with all, with one")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of deadline.json, .png")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Daemon(Path(folder)) as daemon:
        frames, commands = _run(daemon, args)
    seconds = list(_seconds(frames))
    with open_source(str(args.clip)) as source:
        info = source.info
    setup = {
        "command": f"python -m tools.bench.deadline {args.clip.name} --fps {args.fps:g}",
        "source": f"{info.width}x{info.height}, {float(info.fps or 0):.2f} frames per second",
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "torch": torch.__version__,
        "target_fps": args.fps,
    }
    summary = _summary(frames, seconds, commands, args.fps)
    args.out.mkdir(parents=True, exist_ok=True)
    record = {"setup": setup, "summary": summary, "seconds": [asdict(s) for s in seconds]}
    (args.out / "deadline.json").write_text(json.dumps(record, indent=1) + "\n")
    _plot(frames, seconds, setup, args.out / "deadline.png")
    print(json.dumps(setup | summary, indent=1))
    return 0


@dataclass(frozen=True, slots=True)
class Seen:
    """A message as it came, `at_s` after the first."""

    at_s: float
    objects: int
    fresh: int
    rung: int
    input_size: int
    total_ms: float


@dataclass(frozen=True, slots=True)
class Second:
    """A second of the run: frames that came, and what the last of them says."""

    at_s: int
    fps: int
    objects: int
    fresh: int
    rung: int
    input_size: int


@dataclass(frozen=True, slots=True)
class Commands:
    """When the last object had come, when the last had gone, and when all ended, as `Seen.at_s`."""

    added_s: float
    removed_s: float
    ended_s: float


def _run(daemon: Daemon, args: argparse.Namespace) -> tuple[list[Seen], Commands]:
    """Follow the stream while a thread prompts and removes."""
    deadline = DeadlineSettings(fps=args.fps)
    frames: list[Seen] = []
    with daemon.client() as client, client.results(STREAM) as results:
        url = str(args.clip.resolve())
        client.add_stream(STREAM, url, realtime=True, loop=True, deadline=deadline)
        if results.receive(60) is None:
            raise SystemExit("the clip gave no frame within a minute")
        begun_s = time.monotonic()
        script = _Script(daemon.client, args, begun_s)
        script.start()
        while script.is_alive():
            result = results.receive(30)
            if result is None:
                raise SystemExit("no result within 30 s")
            frames.append(_seen(result, time.monotonic() - begun_s))
    if script.commands is None:
        raise SystemExit("the objects could not be prompted and removed; see above")
    return frames, script.commands


class _Script(threading.Thread):
    """Prompts and removes objects; `commands` says when, once it is through."""

    def __init__(
        self, connect: Callable[[], Client], args: argparse.Namespace, begun_s: float
    ) -> None:
        super().__init__(daemon=True)
        self.commands: Commands | None = None
        self._connect = connect
        self._args = args
        self._begun_s = begun_s

    def run(self) -> None:
        args = self._args
        with self._connect() as client:
            for object_id in range(1, args.objects + 1):
                box = _box(object_id)
                client.prompt(STREAM, object=object_id, box=box, normalized=True)
                time.sleep(args.hold_s if object_id == 1 else args.step_s)
            added_s = self._now_s()
            time.sleep(args.hold_s)
            for object_id in range(args.objects, 1, -1):
                client.remove_object(STREAM, object_id)
                time.sleep(args.step_s)
            removed_s = self._now_s()
            time.sleep(args.hold_s)
        self.commands = Commands(added_s, removed_s, self._now_s())

    def _now_s(self) -> float:
        return time.monotonic() - self._begun_s


def _box(object_id: int) -> tuple[float, float, float, float]:
    """A box of the grid, 0..1; the first lies in the middle of the picture."""
    across, down = GRID
    place = (object_id - 1 + across * (down // 2) + across // 2) % (across * down)
    column, row = place % across, place // across
    return (column + 0.1) / across, (row + 0.1) / down, (column + 0.9) / across, (row + 0.9) / down


def _seen(result: Result, at_s: float) -> Seen:
    message = result.message
    assert message.effort is not None
    return Seen(
        at_s=at_s,
        objects=len(message.objects),
        fresh=sum(item.fresh for item in message.objects),
        rung=message.effort.rung,
        input_size=message.effort.input_size,
        total_ms=message.timings.total_ms,
    )


def _seconds(frames: list[Seen]) -> Iterator[Second]:
    """The whole seconds of a run."""
    for start_s in range(int(frames[-1].at_s)):
        within = [seen for seen in frames if start_s <= seen.at_s < start_s + 1]
        if within:
            last = within[-1]
            facts = (last.objects, last.fresh, last.rung, last.input_size)
            yield Second(start_s, len(within), *facts)
        else:
            yield Second(start_s, 0, 0, 0, 0, 0)


def _summary(
    frames: list[Seen], seconds: list[Second], commands: Commands, target_fps: float
) -> dict[str, object]:
    fps = np.array([second.fps for second in seconds])
    back_s = next((s.at_s for s in frames if s.at_s >= commands.removed_s and s.rung == 0), None)
    latency_ms = np.percentile([seen.total_ms for seen in frames], (50, 95))
    return {
        "mean_fps": round(len(frames) / frames[-1].at_s, 2),
        "seconds": len(seconds),
        "seconds_within_a_frame_of_target": int((fps >= target_fps - 1).sum()),
        "worst_second_fps": int(fps.min()),
        "most_objects": max(seen.objects for seen in frames),
        "lowest_rung": max(seen.rung for seen in frames),
        "rung_changes": int(np.count_nonzero(np.diff([seen.rung for seen in frames]))),
        "full_effort_again_s": None if back_s is None else round(back_s - commands.removed_s, 1),
        "latency_ms_p50_p95": [round(float(ms), 1) for ms in latency_ms],
    }


def _plot(frames: list[Seen], seconds: list[Second], setup: dict[str, object], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (top, middle, bottom) = plt.subplots(3, 1, sharex=True, figsize=(9, 7))
    top.step([s.at_s for s in seconds], [s.fps for s in seconds], where="post")
    top.axhline(float(str(setup["target_fps"])), color="grey", linestyle="--", label="deadline")
    top.set(ylabel="frames tracked\neach second", ylim=(0, None))
    top.legend(loc="lower right")
    at_s = [seen.at_s for seen in frames]
    middle.step(at_s, [seen.objects for seen in frames], where="post", label="objects")
    middle.step(at_s, [seen.fresh for seen in frames], where="post", label="tracked on the frame")
    middle.set(ylabel="objects", ylim=(0, None))
    middle.legend(loc="upper right")
    bottom.step(at_s, [seen.rung for seen in frames], where="post")
    bottom.set(ylabel="rung (0: full effort)", xlabel="seconds")
    bottom.invert_yaxis()
    figure.suptitle(f"{setup['source']}, {setup['cpus']} CPUs")
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)


if __name__ == "__main__":
    raise SystemExit(main())
