"""Frames of a project: their times are asked for until they are known."""

from pathlib import Path

import numpy as np
import pytest

from streams.errors import StreamError
from streams.random_access import FrameReader
from tests.support.three_discs import picture, write_clip
from tracker.project.folder import Project, ProjectSettings, described_source
from tracker.project.frames import ProjectFrames
from tracker.project.pictures import Thumbnails

FRAMES = 5


@pytest.fixture
def project(tmp_path: Path) -> Project:
    clip = write_clip(tmp_path / "discs.mp4", FRAMES)
    source, content = described_source(str(clip), tmp_path / "project")
    settings = ProjectSettings(source=source, content=content, title="discs")
    return Project.create(tmp_path / "project", settings)


def shown(frames: ProjectFrames, number: int) -> int:
    """Number of the picture that is most like the frame."""
    image = frames.read(number).image.astype(int)
    return int(np.argmin([np.abs(image - picture(n).astype(int)).mean() for n in range(FRAMES)]))


def test_a_scan_that_is_made_later_is_used(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers: list[tuple[int, ...]] = []
    begin = FrameReader.__init__

    def noted(reader: FrameReader, open_source: object, times: tuple[int, ...] = ()) -> None:
        readers.append(tuple(times))
        begin(reader, open_source, times)  # type: ignore[arg-type]

    monkeypatch.setattr(FrameReader, "__init__", noted)
    thumbnails = Thumbnails(project)
    frames = ProjectFrames(project, thumbnails.times)
    assert shown(frames, 3) == 3
    scan = thumbnails.make()
    assert scan is not None and len(scan.times) == FRAMES
    assert [shown(frames, number) for number in (1, 4, 0)] == [1, 4, 0]
    assert readers == [(), scan.times]
    frames.close()


def test_after_a_frame_that_is_not_there_others_are_read(project: Project) -> None:
    frames = ProjectFrames(project)
    with pytest.raises(StreamError, match="no frame 5"):
        frames.read(FRAMES)
    assert shown(frames, 2) == 2
    frames.close()
