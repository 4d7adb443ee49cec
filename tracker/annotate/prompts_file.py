"""The prompts file: the same prompts as the options of `trackd track`, as JSON."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from streams.access.bounded_file import read_at_most
from tracker.annotate.mask_png import read_mask
from tracker.annotate.pictures import Pictures
from tracker.annotate.plan import NAME_PREFIX, PlacedPrompt, Removal
from tracker.errors import UsageError
from tracker.rle import MAX_SIDE_PX, Rle, encode_rle
from tracker.text_file import decode_text
from tracker.types import Prompt

MAX_FILE_BYTES = 64 * 1024 * 1024

_Point = tuple[float, float]
_Box = tuple[float, float, float, float]
_Side = Annotated[int, Field(ge=1, le=MAX_SIDE_PX)]


def _check_frame(value: Any) -> Any:
    is_name = isinstance(value, str) and value.startswith(NAME_PREFIX) and value != NAME_PREFIX
    is_number = type(value) is int and value >= 0
    if not is_name and not is_number:
        raise ValueError(f"give a frame number from 0, or {NAME_PREFIX} and a picture's name")
    return value


# Checked beforehand, so that a fault is one line and not once for either kind.
_Frame = Annotated[
    Annotated[int, Field(ge=0)]
    | Annotated[str, Field(pattern=rf"^{NAME_PREFIX}[\s\S]+$", max_length=1024)],
    BeforeValidator(_check_frame),
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class RleMask(_Strict):
    """A mask in COCO's compressed run-length encoding."""

    size: tuple[_Side, _Side] = Field(description="[height, width] in pixels")
    counts: str = Field(
        min_length=1, max_length=4_000_000, description="compressed counts, as pycocotools makes"
    )


def _mask_kind(value: Any) -> str:
    return "png" if isinstance(value, str) else "rle"


class FilePrompt(_Strict):
    """Prompt on one frame: points, a box, points and a box, or a mask."""

    frame: _Frame = Field(
        description="frame number in the source, from 0; or, in a folder of pictures, name:NAME, "
        "the name of the picture's file with or without its suffix"
    )
    points: list[_Point] = Field(
        default=[], max_length=1000, description="clicks [x, y] in pixels, x right, y down"
    )
    labels: list[Literal[0, 1]] | None = Field(
        default=None,
        max_length=1000,
        description="one per point: 1 on the object, 0 off it; all 1 where left out",
    )
    box: _Box | None = Field(
        default=None, description="[x0, y0, x1, y1] in pixels; x1 is the last column plus one"
    )
    mask: (
        Annotated[
            Annotated[str, Field(min_length=1, max_length=4096), Tag("png")]
            | Annotated[RleMask, Tag("rle")],
            Discriminator(_mask_kind),
        ]
        | None
    ) = Field(
        default=None,
        description="a PNG file (nonzero pixels are the object, or those of one id: FILE.png#ID; "
        "relative to this file) or RLE",
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.labels is not None and len(self.labels) != len(self.points):
            raise ValueError(f"{len(self.points)} points but {len(self.labels)} labels")
        if self.mask is not None and (self.points or self.box is not None):
            raise ValueError("a mask goes without points and box")
        if self.mask is None and self.box is None and not self.points:
            raise ValueError("give points, a box or a mask")
        return self


class FileObject(_Strict):
    """One object and its prompts, the first of which makes it appear."""

    id: int = Field(ge=1, description="public id, the pixel value in DAVIS masks")
    label: str | None = Field(default=None, min_length=1, max_length=100, description="its name")
    prompts: list[FilePrompt] = Field(
        min_length=1,
        max_length=10_000,
        description="in any order; those after the first correct the object, or bring it back",
    )
    removed_at: list[_Frame] = Field(
        default=[],
        max_length=10_000,
        description="frames, by number or by name:NAME, from which on the object is gone, until a "
        "later prompt if there is one",
    )


class PromptsFile(_Strict):
    """Prompts for `trackd track --prompts FILE`."""

    version: Literal[1] = Field(description="version of this format")
    objects: list[FileObject] = Field(min_length=1, max_length=256)

    @model_validator(mode="after")
    def _ids_differ(self) -> Self:
        seen: set[int] = set()
        for index, item in enumerate(self.objects):
            if item.id in seen:
                raise ValueError(f"objects[{index}] repeats id {item.id}; give each object one id")
            seen.add(item.id)
        return self


@dataclass(frozen=True, slots=True)
class FileContent:
    """Content of a prompts file, in its own order."""

    placed: tuple[PlacedPrompt, ...] = ()
    removals: tuple[Removal, ...] = ()


def load_prompts(path: Path, pictures: Pictures | None = None) -> FileContent:
    """Read a prompts file.

    Args:
        path: The file.
        pictures: The frames of the source, by name; None where they have no names.

    Raises:
        UsageError: The file cannot be read or does not follow the format.
        PromptError: One of its masks cannot be read, or a name is not that of one picture.
    """
    try:
        text = decode_text(read_at_most(path, MAX_FILE_BYTES))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "check --prompts") from error
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error
    return parse_prompts(text, path, pictures)


def parse_prompts(text: str, path: Path, pictures: Pictures | None = None) -> FileContent:
    """Read the text of a prompts file.

    Args:
        text: What it holds.
        path: What it is called in errors; masks are beside it.
        pictures: As in `load_prompts`.

    Raises:
        UsageError: It does not follow the format.
        PromptError: As `load_prompts`.
    """
    try:
        content = PromptsFile.model_validate_json(text)
    except ValidationError as error:
        raise UsageError(f"{path}: {first_fault(error)}", "see trackd schema prompts") from error
    pictures = pictures or Pictures("the source")
    placed, removals = [], []
    for item in content.objects:
        where = f"{path}, object {item.id}"
        for entry in item.prompts:
            frame = pictures.number(entry.frame, where)
            placed.append(_place(item, entry, frame, path.parent))
        frames = (pictures.number(frame, where) for frame in item.removed_at)
        removals += [Removal(frame, item.id) for frame in frames]
    return FileContent(tuple(placed), tuple(removals))


def first_fault(error: ValidationError) -> str:
    """The first fault of a model that does not validate: where, and what; and how many more."""
    faults = error.errors(include_url=False, include_input=False)
    where = ""
    for part in faults[0]["loc"]:
        where += f"[{part}]" if isinstance(part, int) else f".{part}"
    text = faults[0]["msg"].removeprefix("Value error, ")
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{where.lstrip('.')}: {text}{more}" if where else f"{text}{more}"


def _place(item: FileObject, entry: FilePrompt, frame: int, folder: Path) -> PlacedPrompt:
    prompt = Prompt(
        object_id=item.id,
        points_xy=tuple(entry.points),
        point_labels=tuple([1] * len(entry.points) if entry.labels is None else entry.labels),
        box_xyxy=entry.box,
        label=item.label,
    )
    return PlacedPrompt(frame, prompt, _mask_of(item, entry, folder))


def _mask_of(item: FileObject, entry: FilePrompt, folder: Path) -> Rle | None:
    if isinstance(entry.mask, str):
        return encode_rle(read_mask(entry.mask, folder))
    if entry.mask is None:
        return None
    height, width = entry.mask.size
    return Rle(height, width, entry.mask.counts)
