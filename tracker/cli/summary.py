"""What `trackd track` says at its end, in words and as JSON."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from streams.sources.registry import Source
from tracker.annotate.job import Tally
from tracker.annotate.outputs import Outputs
from tracker.annotate.plan import PromptPlan
from tracker.cli.printable import printable
from tracker.models import Model


@dataclass(frozen=True, slots=True)
class ObjectSummary:
    """One object; `frames` counts those on which it has a mask."""

    id: int
    label: str | None
    frames: int


@dataclass(frozen=True, slots=True)
class StageSummary:
    """Mean milliseconds per frame."""

    decode: float
    encode: float
    track: float
    write: float


@dataclass(frozen=True, slots=True)
class Loss:
    """Frames that the source could not give.

    Attributes:
        claimed: Frames that the container claims; None where it claims none.
        decoded: Frames that were decoded, those before the range included.
        missing: Claimed but not decoded, once the source was read to its end; else 0. What the
            decoder took without giving a picture of its own is no loss.
        corrupt_packets: Packets, or image files, that were skipped.
        damage: What is wrong with the data where the source ended early; None where nothing is.
    """

    claimed: int | None
    decoded: int
    missing: int
    corrupt_packets: int
    damage: str | None


@dataclass(frozen=True, slots=True)
class DamagedPictures:
    """Files of a folder that could not be decoded, which no output holds; `names` are the first."""

    count: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """One run. Frame numbers count from 0; `stopped_at` is None for a run to the end.

    `replayed` counts the frames whose results an interrupted run had left; `frames` holds them.
    `backward` counts the frames of the pass towards the start.
    """

    source: str
    model: str
    device: str
    dtype: str
    frames: int
    replayed: int
    backward: int
    last_frame: int | None
    stopped_at: int | None
    fps: float
    ms_per_frame: StageSummary
    objects: tuple[ObjectSummary, ...]
    lost: Loss
    damaged_pictures: DamagedPictures
    outputs: dict[str, str]

    def as_json(self) -> str:
        """One JSON object on one line."""
        return json.dumps(asdict(self))

    def as_text(self) -> str:
        """Lines for people."""
        ms = self.ms_per_frame
        lines = [
            f"tracked {self.frames} frames of {self.source} with {self.model} "
            f"on {self.device} ({self.dtype}), {self.fps:.1f} fps",
            f"  ms per frame  decode {ms.decode:.1f}, encode {ms.encode:.1f}, "
            f"track {ms.track:.1f}, write {ms.write:.1f}",
        ]
        for item in self.objects:
            name = f"{item.id} {item.label}" if item.label else f"{item.id}"
            lines.append(f"  object {name}: on {item.frames} of {self.frames} frames")
        lines += [f"  {line}" for line in self._mishaps()]
        lines += [f"  {kind}: {path}" for kind, path in self.outputs.items()]
        if self.stopped_at is not None and "state" in self.outputs:
            lines.append("  the same command goes on from here")
        return "\n".join(map(printable, lines))

    def _mishaps(self) -> list[str]:
        lines = []
        if self.replayed:
            lines.append(f"{self.replayed} of them from the interrupted run")
        if self.backward:
            lines.append(f"tracked backward over {self.backward} frames")
        if self.stopped_at is not None:
            lines.append(f"stopped early at frame {self.stopped_at}")
        elif self.frames == 0:
            lines.append("stopped before the first frame; nothing was written")
        lost, damaged = self.lost, self.damaged_pictures
        if damaged.count:
            names = ", ".join(printable(name) for name in damaged.names)
            more = damaged.count - len(damaged.names)
            pictures = (
                "1 damaged picture" if damaged.count == 1 else f"{damaged.count} damaged pictures"
            )
            lines.append(f"left out {pictures}: {names}" + (f" and {more} more" if more else ""))
            return lines
        if lost.missing:
            lines.append(
                f"lost {lost.missing} frames: the source claims {lost.claimed}, "
                f"{lost.decoded} could be decoded"
            )
        if lost.corrupt_packets:
            lines.append(f"skipped {lost.corrupt_packets} corrupt packets")
        if lost.damage:
            lines.append(f"the source is damaged at its end: {lost.damage}")
        return lines


def summarize(
    tally: Tally,
    model: Model,
    plan: PromptPlan,
    outputs: Outputs,
    source: Source,
    *,
    replayed: int,
    backward: int,
) -> Summary:
    """Put together what a run left behind.

    `replayed` frames had been tracked before; `backward` frames were tracked backward.
    """
    per_frame_ms = 1000 / max(tally.frames, 1)
    times = (tally.decode_s, tally.encode_s, tally.track_s, tally.write_s)
    return Summary(
        source=source.info.url,
        model=model.name,
        device=str(model.device),
        dtype=model.precision,
        frames=tally.frames,
        replayed=replayed,
        backward=backward,
        last_frame=tally.last_frame,
        stopped_at=tally.last_frame if tally.stopped_early else None,
        fps=round(tally.fps, 2),
        ms_per_frame=StageSummary(*(round(spent_s * per_frame_ms, 2) for spent_s in times)),
        objects=tuple(
            ObjectSummary(object_id, plan.labels[object_id], tally.frames_by_object[object_id])
            for object_id in sorted(tally.frames_by_object)
        ),
        lost=_loss(tally, plan, source),
        damaged_pictures=_damaged(source),
        outputs=_written(outputs) if tally.frames else {},
    )


def _loss(tally: Tally, plan: PromptPlan, source: Source) -> Loss:
    claimed, stats = source.info.frame_count, source.stats
    read_whole = not tally.stopped_early and plan.frames.stop is None
    taken = max(stats.frames, stats.packets)
    missing = max(0, (claimed or 0) - taken) if read_whole else 0
    return Loss(claimed, stats.frames, missing, stats.corrupt_packets, stats.damage)


def _damaged(source: Source) -> DamagedPictures:
    names = tuple(source.stats.damaged_names)
    return DamagedPictures(source.stats.corrupt_packets if names else 0, names)


def _written(outputs: Outputs) -> dict[str, str]:
    named: tuple[tuple[str, Path | None], ...] = (
        ("video", outputs.video),
        ("davis", outputs.davis),
        ("coco", outputs.coco),
        ("coco_frames", outputs.coco_frames),
        ("state", outputs.state),
    )
    return {kind: str(path) for kind, path in named if path is not None}
