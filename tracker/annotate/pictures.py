"""The pictures that are the frames of a source, found by the names of their files."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Self

from streams.address import SourceKind, parse_address
from streams.decode.ffmpeg_errors import translated
from streams.sources.images import find_images, read_image, stem_of
from tracker.annotate.plan import NAME_PREFIX, FrameAddress, FrameRange, PromptPlan
from tracker.errors import PromptError, UsageError


class Pictures:
    """The files that are the frames of a source, in order; none where it is no set of pictures."""

    def __init__(self, source: str, paths: Sequence[Path] = ()) -> None:
        """Take the files; `source` is what the source is called in errors."""
        self.paths = paths
        self._source = source

    @classmethod
    def of(cls, url: str) -> Self:
        """List the pictures of a source without decoding any.

        Raises:
            StreamError: The address is wrong, or there is nothing at it.
        """
        address = parse_address(url)
        if address.kind is not SourceKind.PATH:
            return cls(address.shown)
        path = Path(address.location)
        with translated(address):
            images = find_images(path)
            if images is None:
                path.stat()
        return cls(address.shown, images or ())

    def number(self, address: FrameAddress, where: str) -> int:
        """The number of the frame that is meant; `where` says in errors who means it.

        Raises:
            PromptError: No picture has this name, or several have.
        """
        if isinstance(address, int):
            return address
        name = address.removeprefix(NAME_PREFIX)
        if not self.paths:
            raise PromptError(
                f"{where}: the frames of {self._source} have no names",
                "only those of an image folder have; give the frame's number",
            )
        found = self._numbers.get(name, ())
        if not found:
            raise PromptError(
                f"{where}: no picture of {self._source} is called {name}",
                "give the name of its file, with its suffix or without",
            )
        if len(found) > 1:
            names = " or ".join(self.paths[number].name for number in found[:3])
            raise PromptError(f"{where}: {name} may be {names}", "give the whole name of the file")
        return found[0]

    def check_stems(self, frames: FrameRange, option: str, suffix: str) -> None:
        """Check that an output names the files of no two pictures of the range the same.

        Args:
            frames: The range.
            option: What the output is called in errors.
            suffix: Of its files, in place of that of the pictures.

        Raises:
            UsageError: Two differ in nothing but their suffix.
        """
        seen: dict[str, str] = {}
        for path in self.paths[frames.start : frames.stop]:
            stem = stem_of(path.name)
            if stem in seen:
                raise UsageError(
                    f"{option}: the masks of {seen[stem]} and {path.name} "
                    f"would both be {stem}{suffix}",
                    "rename one of them, or leave it out of the folder",
                )
            seen[stem] = path.name

    def check_prompted(self, plan: PromptPlan) -> None:
        """Check that every picture with a prompt on it can be decoded.

        Raises:
            PromptError: One is damaged.
            StreamError: One cannot be read.
        """
        checked = -1
        for item in plan.placed if self.paths else ():
            path = self.paths[item.frame]
            if item.frame != checked and read_image(path) is None:
                raise PromptError(
                    f"prompt for object {item.prompt.object_id} on frame {item.frame}: "
                    f"the picture {path} is damaged",
                    "repair it, or prompt on another",
                )
            checked = item.frame

    @cached_property
    def _numbers(self) -> dict[str, list[int]]:
        """Frames by the whole names of their files, then by those without suffix."""
        numbers: dict[str, list[int]] = {}
        for number, path in enumerate(self.paths):
            numbers.setdefault(stem_of(path.name), []).append(number)
        return numbers | {path.name: [number] for number, path in enumerate(self.paths)}
