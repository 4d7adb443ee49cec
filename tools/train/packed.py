"""Reads a pack: encoded pictures stay encoded until they are asked for."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from tools.train.pack_format import DEVELOPMENT_SET, INDEX_NAME, Blob, PackIndex, part_path
from tracker.errors import TrackdError, UsageError


class Pack:
    """An opened pack; its parts are mapped, so that processes share what they read of them."""

    def __init__(self, folder: Path) -> None:
        """Open a pack.

        Raises:
            TrackdError: There is none, or a part is missing or cut short.
            UsageError: It holds the development set.
        """
        self.index = _read_index(folder)
        if any(Path(source).name == DEVELOPMENT_SET for source in self.sources):
            raise UsageError(f"{folder} holds {DEVELOPMENT_SET}", "pack without it")
        self._parts: list[NDArray[np.uint8]] = []
        for number, part in enumerate(self.index.parts):
            path = part_path(folder, number)
            if not path.is_file() or path.stat().st_size != part.bytes:
                raise TrackdError(f"{path} is missing or cut short", "copy the pack again")
            self._parts.append(np.memmap(path, np.uint8, mode="r"))

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of all sources."""
        return (*self.index.stills, *self.index.videos)

    def image(self, blob: Blob) -> NDArray[np.uint8]:
        """A picture as BGR uint8 [H, W, 3].

        Raises:
            TrackdError: Its bytes are no picture.
        """
        return self._decode(blob, cv2.IMREAD_COLOR)

    def mask(self, blob: Blob) -> NDArray[np.uint8]:
        """A mask's values, uint8 [H, W].

        Raises:
            TrackdError: Its bytes are no picture.
        """
        return self._decode(blob, cv2.IMREAD_GRAYSCALE)

    def _decode(self, blob: Blob, flags: int) -> NDArray[np.uint8]:
        encoded = self._parts[blob.part][blob.offset : blob.offset + blob.length]
        decoded = cv2.imdecode(np.asarray(encoded), flags)
        if decoded is None:
            raise TrackdError(f"the pack is damaged at {blob}", "write it again")
        return np.asarray(decoded, np.uint8)


def _read_index(folder: Path) -> PackIndex:
    path = folder / INDEX_NAME
    try:
        return PackIndex.model_validate_json(path.read_bytes())
    except OSError as err:
        hint = "write one with python -m tools.train.pack DATA OUT"
        raise TrackdError(f"no pack in {folder}: {err.strerror}", hint) from err
    except ValidationError as err:
        raise TrackdError(f"{path} is not the index of a pack", "write the pack again") from err
