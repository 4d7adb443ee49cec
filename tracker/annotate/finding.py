"""Tracking of what a finder proposes, beside what was prompted."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from streams.frame import Frame
from tracker.annotate.first_masks import FirstMasks
from tracker.annotate.plan import PromptPlan
from tracker.annotate.trackers import FrameTracker, TrackSession
from tracker.errors import FinderError, UsageError
from tracker.finders.base import ChecksPhrases, FinderSettings, FinderSpec, Proposal
from tracker.finders.births import BirthPolicy, Births, Deaths, Refusal
from tracker.finders.guard import DEFAULT_TIMEOUT_S, GuardedFinder
from tracker.finders.registry import FINDERS
from tracker.models import Model
from tracker.types import Prompt, TrackResult

MAX_LISTED = 1000
_ASSUMED_FPS = 25.0  # of a source without a clock


@dataclass(frozen=True, slots=True)
class FinderChoice:
    """A finder, what it is asked for and when, and what becomes of its proposals.

    Attributes:
        spec: Its row of the registry.
        phrases: What to look for.
        settings: Of the finder.
        every: Frames from one search to the next; None searches on the first frame alone.
        policy: Births and deaths.
        timeout_s: Time limit of a search.
    """

    spec: FinderSpec
    phrases: tuple[str, ...] = ()
    settings: FinderSettings = field(default_factory=FinderSettings)
    every: int | None = None
    policy: BirthPolicy = field(default_factory=BirthPolicy)
    timeout_s: float = DEFAULT_TIMEOUT_S

    @classmethod
    def of(
        cls,
        name: str,
        phrases: Sequence[str] = (),
        settings: Mapping[str, object] | None = None,
        *,
        every: int | None = None,
        policy: BirthPolicy | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> Self:
        """A finder by its name in the registry.

        Raises:
            UsageError: There is no such finder or setting, or what it is asked for does not fit.
        """
        spec = FINDERS.find(name)
        spec.check_query(phrases)
        if every is not None and every < 1:
            raise UsageError(f"--every {every}", "give 1 or more frames")
        if not timeout_s > 0:
            raise UsageError(f"--find-timeout {timeout_s:g}", "give more than 0 seconds")
        if every is None and spec.every_frame:
            every = 1
        parsed = spec.parse_settings(settings or {})
        return cls(spec, tuple(phrases), parsed, every, policy or BirthPolicy(), timeout_s)

    def possible_labels(
        self, first_id: int, finder_labels: Sequence[str] = ()
    ) -> dict[int, str | None]:
        """Labels that found objects may have, each with an id from `first_id` on.

        They are the phrases, or `finder_labels` where there are none, and no label at all.
        """
        return dict(enumerate((None, *(self.phrases or finder_labels)), first_id))

    def make(self, model: Model) -> GuardedFinder:
        """Load the finder.

        Raises:
            TrackdError: It cannot be loaded.
        """
        finder = self.spec.make(model, self.settings)
        if isinstance(finder, ChecksPhrases):
            finder.check_phrases(self.phrases)
        return GuardedFinder(finder, self.spec.name, timeout_s=self.timeout_s)


@dataclass(frozen=True, slots=True)
class Birth:
    """An object that was found: `score` is the finder's, `frame` that of its first mask."""

    id: int
    label: str | None
    frame: int
    score: float


@dataclass(frozen=True, slots=True)
class Death:
    """An object that was found, and removed on a frame since it was lost for long."""

    id: int
    frame: int


@dataclass(frozen=True, slots=True)
class FoundSummary:
    """Work of a finder in one run; the lists hold the first `MAX_LISTED`.

    Attributes:
        finder: Its name.
        phrases: What it was asked for.
        searches, failures: Searches, and those of them that failed.
        ms_per_search: Their mean time.
        births, deaths: Objects that began and expired, and how many there are in all.
        refused: Proposals that became no object, by the reason.
        invalid, surplus: Proposals left out as nonsense, or as too many.
        gave_up: Why it was not asked again; None where it was.
        first_failure: Message of the first failure; None where there was none.
    """

    finder: str
    phrases: tuple[str, ...]
    searches: int
    failures: int
    ms_per_search: float
    births: tuple[Birth, ...]
    births_in_all: int
    deaths: tuple[Death, ...]
    deaths_in_all: int
    refused: dict[str, int]
    invalid: int
    surplus: int
    gave_up: str | None
    first_failure: str | None


class FindingTracker:
    """Another tracker, a finder that adds objects to its session, and a policy that removes them.

    Whatever the finder does, tracking goes on: its failures are counted.
    """

    def __init__(
        self,
        tracker: FrameTracker,
        session: TrackSession,
        finder: GuardedFinder,
        choice: FinderChoice,
        plan: PromptPlan,
        *,
        first_masks: FirstMasks | None = None,
        last_id: int | None = None,
    ) -> None:
        """Add to what `tracker` tracks in `session`.

        Args:
            tracker: Steps the session, from the first frame of the plan's range on.
            session: Takes the prompts of what is found.
            finder: Proposes.
            choice: When, and what is taken.
            plan: Its ids are not given to objects that are found.
            first_masks: Makes masks of boxes; without, the session does.
            last_id: Largest id that may be given; None for no limit.
        """
        self._tracker = tracker
        self._session = session
        self._finder = finder
        self._choice = choice
        self._first_masks = first_masks
        self._start = plan.frames.start
        self._next_search: float = self._start
        self._next_id = max(plan.object_ids, default=0) + 1
        self._last_id = last_id
        # Formats of files take no others: theirs are written at the start.
        named = choice.phrases or finder.labels
        self._labels = {label.lower(): label for label in named}
        self._births = Births(choice.policy)
        self._deaths = Deaths(choice.policy.expire_after_s)
        self._found_ids: set[int] = set()
        self._born: list[Birth] = []
        self._died: list[Death] = []
        self._counts = {"born": 0, "died": 0}
        self._first_failure: str | None = None

    @property
    def labels(self) -> dict[int, str | None]:
        """Labels of the objects that were found, as far as they are listed."""
        return {birth.id: birth.label for birth in self._born}

    def track(self, frame: Frame) -> TrackResult:
        """All objects on the next frame, those found on it included."""
        result = self._tracker.track(frame)
        changed = self._bury(result, frame)
        if changed:
            result = self._session.result()
        is_due = frame.seq >= self._next_search
        if is_due:
            self._next_search = self._search_after(frame.seq)
        if is_due or self._choice.spec.every_frame:
            changed |= self._search(result, frame, is_due=is_due)
        return self._session.result() if changed else result

    def summary(self) -> FoundSummary:
        """What was found so far."""
        stats = self._finder.stats
        return FoundSummary(
            finder=self._finder.name,
            phrases=self._choice.phrases,
            searches=stats.calls,
            failures=stats.failures,
            ms_per_search=round(1000 * stats.busy_s / max(1, stats.calls), 1),
            births=tuple(self._born),
            births_in_all=self._counts["born"],
            deaths=tuple(self._died),
            deaths_in_all=self._counts["died"],
            refused={str(reason): count for reason, count in self._births.refused.items()},
            invalid=stats.invalid,
            surplus=stats.surplus,
            gave_up=self._finder.gave_up,
            first_failure=self._first_failure,
        )

    def close(self) -> None:
        """Let the finder's thread end."""
        self._finder.close()

    def _search_after(self, number: int) -> float:
        """The frame of the search after one on frame `number`, which may be late for its own."""
        every = self._choice.every
        if every is None:
            return math.inf
        return number - (number - self._start) % every + every

    def _bury(self, result: TrackResult, frame: Frame) -> bool:
        """Remove the objects that expired; true if there are any."""
        found = [item for item in result.objects if item.id in self._found_ids]
        expired = self._deaths.expired(found, _time_s(frame))
        for object_id in expired:
            self._session.remove(object_id)
            self._found_ids.discard(object_id)
            self._counts["died"] += 1
            if len(self._died) < MAX_LISTED:
                self._died.append(Death(object_id, frame.seq))
        return bool(expired)

    def _search(self, result: TrackResult, frame: Frame, *, is_due: bool) -> bool:
        """Add the objects that the finder proposes; true if there are any.

        Where no search is due, the finder is only to see the frame.
        """
        try:
            proposals = self._finder.find(frame.image, self._choice.phrases)
        except FinderError as error:
            if self._first_failure is None:
                self._first_failure = f"frame {frame.seq}: {error}"
            return False
        if not is_due:
            return False
        height, width = frame.image.shape[:2]
        chosen = self._births.chosen(proposals, result.objects, height * width)
        prompts = self._prompts(frame.image, chosen)
        for prompt, proposal in prompts:
            self._session.prompt(prompt)
            self._note_birth(prompt, proposal, frame.seq)
        return bool(prompts)

    def _prompts(
        self, image_hwc: NDArray[np.uint8], chosen: Sequence[Proposal]
    ) -> list[tuple[Prompt, Proposal]]:
        """Prompts for new objects, boxes as masks where a segmenter makes them."""
        numbered: list[tuple[Prompt, Proposal]] = []
        for prompt, proposal in zip(self._drawn(image_hwc, chosen), chosen, strict=True):
            if self._last_id is not None and self._next_id > self._last_id:
                self._births.refused[Refusal.NO_ID] += 1
            elif prompt is None:
                self._births.refused[Refusal.NO_MASK] += 1
            else:
                numbered.append((replace(prompt, object_id=self._next_id), proposal))
                self._next_id += 1
        return numbered

    def _drawn(
        self, image_hwc: NDArray[np.uint8], chosen: Sequence[Proposal]
    ) -> list[Prompt | None]:
        """Prompts with ids for the time being; None where the segmenter finds nothing.

        It is given all boxes at once, and encodes the picture once.
        """
        prompts: list[Prompt | None] = [
            self._prompt(object_id, proposal)
            for object_id, proposal in enumerate(chosen, self._next_id)
        ]
        boxes = {i: p for i, p in enumerate(prompts) if p is not None and p.mask_hw is None}
        if self._first_masks is None or not boxes:
            return prompts
        masks_nhw = self._first_masks.segmented(image_hwc, list(boxes.values())).masks_nhw
        for (index, prompt), mask_hw in zip(boxes.items(), masks_nhw, strict=True):
            masked = replace(prompt, box_xyxy=None, mask_hw=mask_hw)
            prompts[index] = masked if mask_hw.any() else None
        return prompts

    def _prompt(self, object_id: int, proposal: Proposal) -> Prompt:
        box_xyxy = proposal.box_xyxy if proposal.mask_hw is None else None
        label = self._labels.get((proposal.label or "").lower())
        return Prompt(object_id, box_xyxy=box_xyxy, mask_hw=proposal.mask_hw, label=label)

    def _note_birth(self, prompt: Prompt, proposal: Proposal, number: int) -> None:
        self._found_ids.add(prompt.object_id)
        self._counts["born"] += 1
        if len(self._born) < MAX_LISTED:
            birth = Birth(prompt.object_id, prompt.label, number, round(proposal.score, 4))
            self._born.append(birth)


def _time_s(frame: Frame) -> float:
    """Time of a frame on the source's clock, or by its number where the source has none."""
    return frame.seq / _ASSUMED_FPS if frame.time_s is None else frame.time_s
