"""Pictures of recorded frames, found by their times."""

from pathlib import Path

import pytest

from tests.support.numbered_clip import number_of, numbered
from tests.support.recordings import FPS, GROUP, Taken
from tests.support.streams_clips import write_clip
from tracker.daemon.record.messages import MessageRecorder
from tracker.protocol.fields import RecordSettings
from tracker.protocol.recording import FrameNote, NoteTopic
from tracker.replay.pictures import RecordedPictures
from tracker.replay.recording import open_recording

FRAMES = 40
PASSES = 3  # of a source whose clock begins again each time
BEGAN_NS = 1_800_000_000 * 10**9
APART_NS = 20 * 10**9  # from one pass to the next


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded(tmp_path_factory.mktemp("recorded"))


def recorded(folder: Path, apart_ns: int = APART_NS) -> Path:
    """A recording of passes with two segments each; pictures are numbered through."""
    recorder = Taken(folder, segment_s=1)
    messages = MessageRecorder()
    messages.add("cam", RecordSettings(dir=folder))
    options = {"g": str(GROUP), "bf": "2", "x264-params": "scenecut=0:b-adapt=0:open-gop=0"}
    for index in range(PASSES):
        pictures = [numbered(FRAMES * index + number) for number in range(FRAMES)]
        recorder.play(write_clip(folder / f"{index}.mp4", pictures, options=options))
    recorder.end()
    for index, note in enumerate(recorder.notes):
        late_ns = 30 * 10**9 // FPS if index % 2 else 0
        began_ns = BEGAN_NS + index // 2 * apart_ns + late_ns
        noted = note.model_copy(update={"began_ns": began_ns})
        messages.note("cam", NoteTopic.SEGMENT, noted.model_dump_json().encode())
    assert messages.stop(30)
    return folder / "cam"


def found(folder: Path, numbers: list[int], apart_ns: int = APART_NS) -> list[int | None]:
    """The numbers in the pictures of frames of these numbers."""
    pictures = RecordedPictures(open_recording(folder))
    seen: list[int | None] = []
    for number in numbers:
        index, place = divmod(number, FRAMES)
        captured_ns = BEGAN_NS + index * apart_ns + place * 10**9 // FPS
        note = FrameNote(
            seq=number,
            epoch=None,
            pts=place,
            time_base=(1, FPS),
            captured_ns=captured_ns,
            threads=1,
        )
        frame = pictures.find(note)
        seen.append(None if frame is None else number_of(frame.image))
    pictures.close()
    return seen


@pytest.mark.slow
@pytest.mark.parametrize(
    "numbers",
    [
        list(range(FRAMES * PASSES)),
        [5, 35, 40 + 35, 80 + 2, 80 + 35],  # no frame of the first segment of the second pass
        [5, 80 + 6, 80 + 7],  # none of the second pass
        [80 + 6],
    ],
)
def test_a_picture_is_of_the_pass_that_the_frame_came_in(folder: Path, numbers: list[int]) -> None:
    assert found(folder, numbers) == numbers


@pytest.mark.slow
def test_a_picture_that_is_not_there_costs_no_other(folder: Path) -> None:
    videos = sorted(folder.glob("*.mp4"))
    content = videos[2].read_bytes()
    try:
        videos[2].write_bytes(content[: content.index(b"mdat") + 40])  # a part of a picture
        assert found(folder, [35, 41, 45, 71, 90]) == [35, None, None, 71, 90]
        videos[2].write_bytes(b"")
        assert found(folder, [35, 41, 45, 71, 90]) == [35, None, None, 71, 90]
    finally:
        videos[2].write_bytes(content)


@pytest.mark.slow
def test_what_a_crash_left_unwritten_is_not_taken_from_the_pass_after_it(tmp_path: Path) -> None:
    """Four seconds later the source has the same times again."""
    apart_ns = 4 * 10**9
    folder = recorded(tmp_path, apart_ns)
    sorted(folder.glob("*.mp4"))[1].unlink()
    numbers = list(range(2 * FRAMES))
    expected = [None if 30 <= number < FRAMES else number for number in numbers]
    assert found(folder, numbers, apart_ns) == expected
