"""A prompts file from what an importer reads."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import ValidationError

from tracker.annotate.plan import NAME_PREFIX
from tracker.annotate.prompts_file import (
    FileObject,
    FilePrompt,
    PromptsFile,
    RleMask,
    first_fault,
)
from tracker.errors import UsageError
from tracker.importers.base import Annotated

_RANGE = re.compile(r"(?P<first>\d{1,9})(?:-(?P<last>\d{1,9})(?::(?P<step>\d{1,9}))?)?")
FRAMES_FORM = "N,N-M,N-M:STEP,name:NAME or first"
_MAX_OBJECTS = 256

Address = int | str


@dataclass(frozen=True, slots=True)
class FrameChoice:
    """The frames that are taken: all, each object's first, or those of ranges and names.

    All are those on which an object was drawn; what lies between is taken where a range names it.
    """

    first_only: bool = False
    ranges: tuple[range, ...] | None = None
    names: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str | None) -> "FrameChoice":
        """The choice that a text makes; None for all frames.

        Raises:
            UsageError: It does not follow `FRAMES_FORM`.
        """
        if text is None:
            return cls()
        if text == "first":
            return cls(first_only=True)
        ranges, names = [], []
        for part in text.split(","):
            match = _RANGE.fullmatch(part)
            if part.startswith(NAME_PREFIX):
                names.append(part.removeprefix(NAME_PREFIX))
            elif match is None or match["step"] == "0":
                raise UsageError(
                    f"--frames {text} is not {FRAMES_FORM}", "as in --frames 0,30-90:30"
                )
            else:
                first, last = int(match["first"]), int(match["last"] or match["first"])
                ranges.append(range(first, last + 1, int(match["step"] or 1)))
        return cls(ranges=tuple(ranges), names=frozenset(names))

    def takes(self, item: Annotated) -> bool:
        """Whether an annotation is taken by its frame."""
        if self.ranges is None:
            return not item.is_between
        return item.name in self.names or any(item.number in frames for frames in self.ranges)


def prompts_from(
    found: Iterable[Annotated],
    choice: FrameChoice,
    by: Literal["name", "number"] | None = None,
) -> PromptsFile:
    """The prompts that annotations make.

    Args:
        found: They.
        choice: The frames that are taken.
        by: Whether frames are addressed by the picture's name or by number; None for the name
            where there is one.

    Raises:
        UsageError: None is left, a frame has no such address, an object cannot stand in a prompts
            file, or there are more than it holds.
    """
    objects = _by_object(item for item in found if choice.takes(item))
    if len(objects) > _MAX_OBJECTS:
        raise UsageError(
            f"{len(objects)} objects, a prompts file holds {_MAX_OBJECTS}",
            "objects without an id are one for each frame: choose frames with --frames",
        )
    files = [_object(object_id, items, choice, by) for object_id, items in objects.items()]
    prompted = [item for item in files if item is not None]
    if not prompted:
        raise UsageError("nothing to prompt with on these frames", "choose others")
    return PromptsFile(version=1, objects=prompted)


def _by_object(found: Iterable[Annotated]) -> dict[int, list[Annotated]]:
    """Annotations by object, ids ascending; those without an id get one that is free."""
    named: dict[int, list[Annotated]] = {}
    nameless: list[Annotated] = []
    for item in found:
        if item.object_id is None:
            nameless.append(item)
        else:
            named.setdefault(item.object_id, []).append(item)
    # Ids of other programs may start at 0, ours start at 1.
    shift = 1 if 0 in named else 0
    objects = {key + shift: named[key] for key in sorted(named)}
    free = max(objects, default=0) + 1
    return objects | {free + index: [item] for index, item in enumerate(nameless)}


def _object(
    object_id: int,
    items: Sequence[Annotated],
    choice: FrameChoice,
    by: Literal["name", "number"] | None,
) -> FileObject | None:
    ordered = sorted(items, key=lambda item: (item.number is None, item.number or 0))
    prompts: dict[Address, FilePrompt] = {}
    removed: list[Address] = []
    is_there = False
    for item in ordered:
        address = _address(item, by)
        if item.is_gone:
            if is_there:
                removed.append(address)
            is_there = False
        elif address not in prompts:
            prompts[address] = _prompt(object_id, address, item)
            is_there = True
            if choice.first_only:
                break
    if not prompts:
        return None
    label = next((item.label for item in ordered if item.label), None)
    try:
        return FileObject(
            id=object_id,
            label=None if label is None else label[:100],
            prompts=list(prompts.values()),
            removed_at=removed,
        )
    except ValidationError as error:
        raise UsageError(
            f"object {object_id}: {first_fault(error)}", "choose fewer frames with --frames"
        ) from error


def _prompt(object_id: int, address: Address, item: Annotated) -> FilePrompt:
    try:
        if item.mask is None:
            return FilePrompt(frame=address, box=item.box_xyxy)
        size = (item.mask.height, item.mask.width)
        return FilePrompt(frame=address, mask=RleMask(size=size, counts=item.mask.counts))
    except ValidationError as error:
        raise UsageError(
            f"object {object_id}, frame {address}: {first_fault(error)}",
            "repair it, or choose other frames with --frames",
        ) from error


def _address(item: Annotated, by: Literal["name", "number"] | None) -> Address:
    if by != "number" and item.name is not None:
        return NAME_PREFIX + item.name
    if by != "name" and item.number is not None:
        return item.number
    where = item.name if item.number is None else item.number
    raise UsageError(f"frame {where} has no {by}", "leave --by out, or choose the other")
