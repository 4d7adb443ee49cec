"""Finder of one stream: when it looks, and what becomes of its proposals."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from tracker.daemon.config.schema import RetryConfig
from tracker.daemon.finding.choice import ChosenFinder
from tracker.daemon.finding.messages import Found, FoundItem
from tracker.daemon.finding.pictures import MAX_BYTES, RecentPictures
from tracker.daemon.messages import (
    BirthRefusedError,
    Command,
    Event,
    FoundBy,
    PromptCommand,
    RequestError,
    Tracked,
)
from tracker.daemon.sources.backoff import Backoff
from tracker.daemon.telemetry.latency import LatencyWindow
from tracker.daemon.telemetry.status import FindingStatus
from tracker.daemon.tracking.stream_tracker import CommandResult
from tracker.errors import FinderError
from tracker.finders.base import Proposal
from tracker.finders.births import Refusal, refusal_of
from tracker.protocol.data import EventName
from tracker.protocol.fields import FrameAddress
from tracker.protocol.replies import ErrorCode
from tracker.rle import Rle, decode_rle

_RETRY = RetryConfig(first_s=1.0, longest_s=60.0, healthy_s=60.0)
_EVENTS_EVERY_S = 1.0
#: Objects made of one search: prompts of people wait in the same queue, of 64 by default.
MOST_BIRTHS = 16
Submit = Callable[[Command], "Future[CommandResult]"]


@dataclass(slots=True)
class _Untold:
    """Proposals and refusals since the newest events about them."""

    told_s: float = 0.0
    proposed: int = 0
    refused: Counter[str] = field(default_factory=Counter)


class StreamFinder:
    """Pictures of one stream, and the turns of its finder.

    `Finding` guards `pictures`, `offer`, `take` and `is_waiting` by its lock; the rest belongs to
    its thread, but for what is refused, which is counted in the tracker's.

    Attributes:
        stream: Name of the stream.
        finder: Its own; None where it has none and answers requests alone.
        pictures: Newest frames.
        looked_s: When its finder looked last, by the monotonic clock.
    """

    def __init__(
        self,
        stream: str,
        finder: ChosenFinder | None,
        *,
        submit: Submit,
        on_event: Callable[[Event], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stream = stream
        self.finder = finder
        self.pictures = RecentPictures(0 if finder is None else MAX_BYTES)
        self.looked_s = 0.0
        self.submit = submit
        self._on_event = on_event
        self._clock = clock
        self._pending: Tracked | None = None
        self._next_seq = 0
        self._next_s = 0.0
        self._resting_until_s = 0.0
        self._backoff = Backoff(_RETRY)
        self._well_since_s = clock()
        self._status = FindingStatus("" if finder is None else finder.spec.name)
        self._latency = LatencyWindow()
        self._counting = threading.Lock()  # guards what follows
        self._refused: Counter[str] = Counter()
        self._untold = _Untold()

    def offer(self, tracked: Tracked) -> bool:
        """Take in a tracked frame; true if the finder is to look at it, or at one after it."""
        self.pictures.add(tracked.live)
        if self.finder is None:
            return False
        if self._pending is not None:
            self._status.skipped += 1
        elif not (self.finder.spec.every_frame or self._due(tracked)):
            return False
        self._pending = tracked
        return True

    def is_waiting(self, now_s: float) -> bool:
        """True if there is a frame to look at, and the finder did not just fail."""
        return self._pending is not None and now_s >= self._resting_until_s

    @property
    def rests_until_s(self) -> float | None:
        """When it looks again after a failure; None where no frame waits for that."""
        return None if self._pending is None else self._resting_until_s

    def take(self) -> tuple[Tracked, bool]:
        """Take the frame to look at; true if its proposals are wanted."""
        tracked, self._pending = self._pending, None
        assert tracked is not None and self.finder is not None
        is_due, seq = self._due(tracked), tracked.live.frame.seq
        self.looked_s = self._clock()
        if is_due:
            self._next_s = self.looked_s + self.finder.every_s
            every = self.finder.every_frames or 1
            self._next_seq = seq - seq % every + every
        return tracked, is_due

    def take_in(self, tracked: Tracked, found: Found, took_s: float) -> None:
        """Have new objects made of the proposals on a frame."""
        assert self.finder is not None
        self._status.proposals += len(found.items)
        self._status.left_out += found.left_out
        height, width = tracked.live.frame.image.shape[:2]
        known_ids = frozenset(obj.id for obj in tracked.result.objects)
        refused: Counter[Refusal] = Counter()
        born: list[Proposal] = []  # the masks of others are let go one by one
        for item in found.items:
            proposal = _proposal(item)
            refusal = self._refusal(proposal, tracked, born, height * width)
            if refusal is None:
                born.append(proposal)
                self._bear(tracked, item, known_ids)
            else:
                refused[refusal] += 1
        self._note(refused, proposed=len(born))
        self._succeeded(took_s)
        self._tell(tracked)

    def failed(self, error: FinderError, took_s: float) -> float:
        """Take note of a search that failed; returns the seconds until the next."""
        self._latency.add(took_s)
        self._status.searches += 1
        self._status.failures += 1
        self._status.error = str(error)
        now_s = self._clock()
        wait_s = self._backoff.failed(now_s - self._well_since_s)
        self._resting_until_s = now_s + wait_s
        self._well_since_s = self._resting_until_s
        text = f"{error}; asked again in {wait_s:.1f} s"
        self._emit(EventName.FIND_FAILED, text)
        return wait_s

    def status(self) -> FindingStatus | None:
        """Current status; None where it has no finder. From any thread."""
        if self.finder is None:
            return None
        with self._counting:
            refused = dict(self._refused)
        return replace(self._status, latency=self._latency.summary(), refused=refused)

    def _due(self, tracked: Tracked) -> bool:
        assert self.finder is not None
        if self.finder.every_frames is not None:
            return tracked.live.frame.seq >= self._next_seq
        return self._clock() >= self._next_s

    def _refusal(
        self, proposal: Proposal, tracked: Tracked, born: list[Proposal], picture_px: int
    ) -> Refusal | None:
        assert self.finder is not None
        objects, policy = tracked.result.objects, self.finder.policy
        refusal = refusal_of(proposal, objects, born, picture_px, policy)
        return Refusal.NOT_TAKEN if refusal is None and len(born) >= MOST_BIRTHS else refusal

    def _succeeded(self, took_s: float) -> None:
        self._latency.add(took_s)
        self._status.searches += 1
        self._status.error = ""

    def _bear(self, tracked: Tracked, item: FoundItem, known_ids: frozenset[int]) -> None:
        """Ask the tracker for an object, on the frame that was looked at."""
        assert self.finder is not None
        live = tracked.live
        command = PromptCommand(
            None,
            box=item.box if item.mask is None else None,
            mask=item.mask,
            label=item.label,
            frame=FrameAddress(seq=live.frame.seq, epoch=live.epoch),
            found=FoundBy(self.finder.spec.name, item.score, self.finder.policy, known_ids),
        )
        try:
            self.submit(command).add_done_callback(self._note_birth)
        except RequestError as err:
            self._note(Counter({_reason(err): 1}))

    def _note_birth(self, born: "Future[CommandResult]") -> None:
        """Count what became of a proposal; in the tracker's thread."""
        if born.cancelled():
            self._note(Counter({Refusal.NOT_TAKEN: 1}))
        elif (error := born.exception()) is not None:
            self._note(Counter({_reason(error): 1}))

    def _note(self, refused: Counter[Refusal], *, proposed: int = 0) -> None:
        with self._counting:
            self._untold.proposed += proposed
            for reason, count in refused.items():
                self._refused[str(reason)] += count
                if reason is not Refusal.TRACKED:
                    self._untold.refused[str(reason)] += count

    def _tell(self, tracked: Tracked) -> None:
        """Send what is new about proposals, not too often."""
        now_s = self._clock()
        with self._counting:
            untold = self._untold
            if now_s < untold.told_s + _EVENTS_EVERY_S or not (untold.proposed or untold.refused):
                return
            self._untold = _Untold(now_s)
        seq = tracked.live.frame.seq
        if untold.proposed:
            self._emit(EventName.FIND_PROPOSED, f"{untold.proposed} proposed", seq)
        if untold.refused:
            reasons = (f"{count} {reason}" for reason, count in untold.refused.items())
            self._emit(EventName.FIND_REFUSED, f"refused: {', '.join(reasons)}", seq)

    def _emit(self, name: EventName, text: str, seq: int | None = None) -> None:
        self._on_event(Event(self.stream, name, time.time_ns(), seq, text=text))


def _reason(error: BaseException) -> Refusal:
    if isinstance(error, BirthRefusedError):
        return error.reason
    code = error.code if isinstance(error, RequestError) else None
    return Refusal.FRAME_GONE if code is ErrorCode.FRAME_GONE else Refusal.NOT_TAKEN


def _proposal(item: FoundItem) -> Proposal:
    mask = item.mask
    mask_hw = None if mask is None else decode_rle(Rle(*mask.size, mask.counts))
    return Proposal(item.box, item.score, item.label, mask_hw)
