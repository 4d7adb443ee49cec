"""Objects from COCO instances and from YouTube-VIS."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated as Limited
from typing import Any

from pydantic import BaseModel, Field, FiniteFloat, TypeAdapter, ValidationError

from tracker.errors import UsageError
from tracker.importers.base import Annotated, read_text
from tracker.importers.masks import filled, from_coco
from tracker.rle import Rle, encode_rle

_Ring = Limited[list[float], Field(max_length=1_000_000)]


class _Runs(BaseModel):
    size: tuple[int, int]
    counts: str | list[int]


class _Category(BaseModel):
    id: int
    name: str


class _Image(BaseModel):
    id: int
    file_name: str
    width: int
    height: int
    frame: int | None = None
    time_s: float | None = None


class _Annotation(BaseModel):
    image_id: int
    category_id: int
    bbox: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat] | None = None
    segmentation: _Runs | list[_Ring] | None = None
    track_id: int | None = None


class _Instances(BaseModel):
    images: list[_Image]
    categories: list[_Category]
    annotations: list[_Annotation]


class _Video(BaseModel):
    id: int
    width: int
    height: int
    file_names: list[str]
    frames: list[int] | None = None
    times_s: list[float | None] | None = None


class _Track(BaseModel):
    id: int
    video_id: int
    category_id: int
    segmentations: list[_Runs | list[_Ring] | None]


class _Videos(BaseModel):
    videos: list[_Video]
    categories: list[_Category]
    annotations: list[_Track]


def read_coco(path: Path) -> Iterator[Annotated]:
    """Objects of a file of COCO instances; `track_id`, where there is one, is their id.

    Raises:
        UsageError: The file is none of COCO instances.
        PromptError: A mask in it is none.
    """
    content = _parsed(path, _Instances)
    labels = {item.id: item.name for item in content.categories}
    images = {item.id: item for item in content.images}
    for index, item in enumerate(content.annotations):
        where = f"{path}, annotations[{index}]"
        image = images.get(item.image_id)
        if image is None:
            raise UsageError(f"{where}: there is no image {item.image_id}", "repair the file")
        is_video = image.time_s is not None
        mask = _mask(item.segmentation, image.height, image.width, where)
        box = None
        if mask is None and item.bbox is not None:
            x, y, w, h = item.bbox
            box = (x, y, x + w, y + h)
        yield Annotated(
            image.frame,
            None if is_video else PurePosixPath(image.file_name).name,
            item.track_id,
            labels.get(item.category_id),
            box,
            mask,
        )


def read_youtube_vis(path: Path) -> Iterator[Annotated]:
    """Objects of a YouTube-VIS file with one video.

    Raises:
        UsageError: The file is none.
        PromptError: A mask in it is none.
    """
    content = _parsed(path, _Videos)
    if len(content.videos) != 1:
        raise UsageError(f"{path} holds {len(content.videos)} videos", "give one at a time")
    (video,) = content.videos
    labels = {item.id: item.name for item in content.categories}
    for track in content.annotations:
        for index, shape in enumerate(track.segmentations[: len(video.file_names)]):
            mask = _mask(shape, video.height, video.width, f"{path}, object {track.id}")
            if mask is None:
                continue
            number = video.frames[index] if video.frames and index < len(video.frames) else index
            name = PurePosixPath(video.file_names[index]).name
            yield Annotated(
                number,
                None if video.times_s is not None else name,
                track.id,
                labels.get(track.category_id),
                mask=mask,
            )


def _mask(shape: _Runs | list[_Ring] | None, height: int, width: int, where: str) -> Rle | None:
    if not shape:
        return None
    if isinstance(shape, _Runs):
        return from_coco(shape.counts, *shape.size, where)
    return encode_rle(filled(shape, height, width, where))


def _parsed(path: Path, kind: type[Any]) -> Any:
    try:
        return TypeAdapter(kind).validate_json(read_text(path))
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, fault["loc"]))
        raise UsageError(f"{path}: {place}: {fault['msg']}", "check the format") from error
