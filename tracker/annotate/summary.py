"""Summary of a finished run, as values and as JSON."""

import json
from dataclasses import asdict, dataclass

from streams.sources.registry import Source
from tracker.annotate.finding import FindingTracker, FoundSummary
from tracker.annotate.job import Tally
from tracker.annotate.outputs import Outputs
from tracker.annotate.plan import PromptPlan
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
    `backward` counts the frames of the pass towards the start. `notes` say what an output could
    not hold. `found` is None without a finder.
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
    found: FoundSummary | None = None
    notes: tuple[str, ...] = ()

    def as_json(self) -> str:
        """One JSON object on one line."""
        return json.dumps(asdict(self))

    @property
    def stopped_early(self) -> bool:
        """Someone asked to stop; a run to the end has one frame at least."""
        return self.stopped_at is not None or self.frames == 0


def summarize(
    tally: Tally,
    model: Model,
    plan: PromptPlan,
    outputs: Outputs,
    source: Source,
    *,
    replayed: int,
    backward: int,
    finding: FindingTracker | None = None,
    notes: tuple[str, ...] = (),
) -> Summary:
    """The summary of what a run left behind.

    `replayed` frames had been tracked before; `backward` frames were tracked backward; `notes`
    say what outputs could not hold.
    """
    labels = plan.labels if finding is None else plan.labels | finding.labels
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
            ObjectSummary(object_id, labels.get(object_id), tally.frames_by_object[object_id])
            for object_id in sorted(tally.frames_by_object)
        ),
        lost=_loss(tally, plan, source),
        damaged_pictures=_damaged(source),
        outputs=outputs.by_key if tally.frames else {},
        found=None if finding is None else finding.summary(),
        notes=notes,
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
