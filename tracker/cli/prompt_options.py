"""The grammar of the prompt options of `trackd track`."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tracker.annotate.mask_png import read_mask, read_object_masks
from tracker.annotate.plan import NAME_PREFIX, FrameAddress, PlacedPrompt, Removal
from tracker.errors import PromptError
from tracker.rle import encode_rle
from tracker.types import Prompt

# It decodes pictures, and its packages take seconds to import: `--help` needs none of them.
if TYPE_CHECKING:
    from tracker.annotate.pictures import Pictures

_FRAME = rf"@(?:(?P<frame>\d{{1,9}})|(?P<name>{NAME_PREFIX}.+))"
_FORM = re.compile(rf"(?P<id>\d{{1,9}}):(?P<value>.+?)(?:{_FRAME})?", re.DOTALL)
_PLACED_FILE = re.compile(rf"(?P<file>.*?)(?:{_FRAME})?", re.DOTALL)
_REMOVAL = re.compile(rf"(?P<id>\d{{1,9}}){_FRAME}", re.DOTALL)
_LABEL = re.compile(r"(?P<id>\d{1,9}):(?P<name>.{1,100})")
BOX_FORM = "ID:X0,Y0,X1,Y1[@FRAME]"
POINT_FORM = "ID:X,Y[,0|1][@FRAME]"
MASK_FORM = "ID:FILE.png[#N][@FRAME]"
MASKS_FORM = "FILE.png[@FRAME]"
LABEL_FORM = "ID:NAME"
REMOVE_FORM = "ID@FRAME"


@dataclass(frozen=True, slots=True)
class PromptOptions:
    """The options as typed; `pictures` are the frames of the source, None without names."""

    boxes: Sequence[str] = ()
    points: Sequence[str] = ()
    masks: Sequence[str] = ()
    labels: Sequence[str] = ()
    removals: Sequence[str] = ()
    object_masks: Sequence[str] = ()
    pictures: "Pictures | None" = None

    def prompts(self, first_frame: int) -> tuple[PlacedPrompt, ...]:
        """The prompts of the options; without @FRAME a prompt is on `first_frame`.

        Raises:
            PromptError: One does not follow its form, names no readable mask or no picture, or
                labels nothing.
        """
        placed = tuple(self._placed(first_frame))
        labels = self._labels()
        for object_id in labels.keys() - {item.prompt.object_id for item in placed}:
            raise PromptError(
                f"--label {object_id}:{labels[object_id]} names an object without a prompt",
                "objects of the prompts file take their label there",
            )
        return tuple(
            replace(item, prompt=replace(item.prompt, label=labels.get(item.prompt.object_id)))
            for item in placed
        )

    def removed(self) -> tuple[Removal, ...]:
        """The removals.

        Raises:
            PromptError: One does not follow its form, or names no picture.
        """
        removals = []
        for text in self.removals:
            match = _REMOVAL.fullmatch(text)
            if match is None:
                raise PromptError(f"--remove {text} is not {REMOVE_FORM}", "as in --remove 1@250")
            frame = self._number(_address(match), f"--remove {text}")
            removals.append(Removal(frame, int(match["id"])))
        return tuple(removals)

    def _placed(self, first_frame: int) -> Iterator[PlacedPrompt]:
        for text in self.boxes:
            object_id, value, frame = self._split("--box", text, BOX_FORM, first_frame)
            x0, y0, x1, y1 = _numbers("--box", text, value, BOX_FORM, (4,))
            yield PlacedPrompt(frame, Prompt(object_id, box_xyxy=(x0, y0, x1, y1)))
        for text in self.points:
            object_id, value, frame = self._split("--point", text, POINT_FORM, first_frame)
            x, y, *rest = _numbers("--point", text, value, POINT_FORM, (2, 3))
            if rest not in ([], [0], [1]):
                raise PromptError(f"--point {text}: label {rest[0]:g}", "use 1 (object) or 0 (not)")
            clicked = Prompt(object_id, ((x, y),), (int(rest[0]) if rest else 1,))
            yield PlacedPrompt(frame, clicked)
        for text in self.masks:
            object_id, value, frame = self._split("--mask", text, MASK_FORM, first_frame)
            yield PlacedPrompt(frame, Prompt(object_id), encode_rle(read_mask(value)))
        for text in self.object_masks:
            match = _PLACED_FILE.fullmatch(text)
            assert match is not None  # every text matches
            frame = self._frame_of(match, f"--masks {text}", first_frame)
            for object_id, mask_hw in read_object_masks(Path(match["file"])):
                yield PlacedPrompt(frame, Prompt(object_id), encode_rle(mask_hw))

    def _split(self, option: str, text: str, form: str, first_frame: int) -> tuple[int, str, int]:
        """Object id, value and frame of an option."""
        match = _FORM.fullmatch(text)
        if match is None:
            raise PromptError(f"{option} {text} is not {form}", "ids are whole numbers from 1")
        return (
            int(match["id"]),
            match["value"],
            self._frame_of(match, f"{option} {text}", first_frame),
        )

    def _frame_of(self, match: re.Match[str], where: str, first_frame: int) -> int:
        if match["frame"] or match["name"]:
            return self._number(_address(match), where)
        return first_frame

    def _number(self, address: FrameAddress, where: str) -> int:
        if isinstance(address, int):
            return address
        if self.pictures is None:
            raise PromptError(f"{where}: the frames have no names", "give the frame's number")
        return self.pictures.number(address, where)

    def _labels(self) -> dict[int, str]:
        labels: dict[int, str] = {}
        for text in self.labels:
            match = _LABEL.fullmatch(text)
            if match is None:
                raise PromptError(f"--label {text} is not {LABEL_FORM}", "as in --label 1:dog")
            if int(match["id"]) in labels:
                raise PromptError(f"--label {text}: object {match['id']} has a label", "give one")
            labels[int(match["id"])] = _as_text(match["name"])
        return labels


def _address(match: re.Match[str]) -> FrameAddress:
    name: str | None = match["name"]
    return int(match["frame"]) if name is None else name


def _as_text(name: str) -> str:
    """`name` without the half surrogates that stand for bytes that are none in this locale."""
    try:
        return name.encode(errors="surrogateescape").decode()
    except UnicodeError as error:
        raise PromptError(
            f"--label {name} is not UTF-8", "check the terminal's encoding"
        ) from error


def _numbers(
    option: str, text: str, value: str, form: str, lengths: tuple[int, ...]
) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in value.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) not in lengths:
        raise PromptError(f"{option} {text} is not {form}", "give coordinates in pixels")
    return numbers
