"""Recording of packets: segments, a full disk, and what is kept before it is asked for."""

import errno
import os
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from streams import open_source
from streams.packet_tap import VideoPacket
from tests.support.recordings import Taken, numbers_in, reordered_clip
from tests.support.supervised import wait_until
from tracker.daemon.record.packet_queue import Came, PacketQueue
from tracker.daemon.record.segments import SegmentFile, SegmentFolder

FRAMES = 100
REORDERED = 2  # frames that a picture may be shown after it is decoded


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reordered_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", FRAMES)


def videos(folder: Path) -> list[Path]:
    return sorted((folder / "cam").glob("*.mp4"))


@pytest.mark.slow
def test_segments_begin_on_key_frames_and_hold_every_picture_once(
    clip: Path, tmp_path: Path
) -> None:
    taken = Taken(tmp_path, segment_s=1)
    live = dict(taken.play(clip))
    taken.end()
    numbers = [numbers_in(video) for video in videos(tmp_path)]
    assert [first[0] for first in numbers] == [0, 30, 60, 90]  # the first key frame after a second
    assert list(chain(*numbers)) == list(range(FRAMES))
    assert [note.video for note in taken.notes] == [video.name for video in videos(tmp_path)]
    for note, video in zip(taken.notes, numbers, strict=True):
        assert live[note.first_dts + REORDERED * 512] == video[0]
    assert taken.names == ["record.started"]
    status = taken.recorder.status()
    assert (status.state, status.segments, status.dropped_packets) == ("on", 4, 0)
    assert status.video_bytes == sum(video.stat().st_size for video in videos(tmp_path))
    assert videos(tmp_path)[0].stat().st_mode & 0o077 == 0


@pytest.mark.slow
def test_a_source_that_is_opened_again_begins_a_segment(clip: Path, tmp_path: Path) -> None:
    taken = Taken(tmp_path, segment_s=60)
    taken.play(clip)
    taken.play(clip)
    taken.end()
    assert [numbers_in(video) for video in videos(tmp_path)] == 2 * [list(range(FRAMES))]


def test_what_has_no_packets_is_refused_in_one_line(tmp_path: Path) -> None:
    taken = Taken(tmp_path)
    with open_source("lavfi:testsrc2=size=64x48:rate=5:duration=1", tap=taken.recorder) as source:
        assert len(list(source)) == 5  # it is decoded all the same
    taken.end()
    assert taken.names == ["record.failed"]
    assert "not compressed" in taken.events[0].text and "\n" not in taken.events[0].text
    assert taken.recorder.status().state == "failed"
    assert not (tmp_path / "cam").exists()


class Disk:
    """A disk of so many bytes, under the files that are written to it."""

    def __init__(self, folder: Path, room: int) -> None:
        self.folder, self.room = folder, room

    def open(self, path: Path, make_room: Any) -> SegmentFile:
        return SegmentFile(path, make_room, write=self.write)

    def write(self, descriptor: int, data: memoryview) -> int:
        used = sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())
        if used >= self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return os.write(descriptor, data[: self.room - used])


@pytest.mark.slow
def test_on_a_full_disk_the_oldest_segments_go(clip: Path, tmp_path: Path) -> None:
    taken = Taken(tmp_path / "first", segment_s=1)
    taken.play(clip)
    taken.end()
    sizes = [video.stat().st_size for video in videos(tmp_path / "first")]
    disk = Disk(tmp_path / "full", sum(sizes) - 1000)
    taken = Taken(tmp_path / "full", segment_s=1, open_file=disk.open)
    taken.play(clip)
    taken.end()
    left = videos(tmp_path / "full")
    assert list(chain(*map(numbers_in, left))) == list(range(30, FRAMES))
    assert taken.names == ["record.started"]


@pytest.mark.slow
def test_where_nothing_is_left_to_remove_recording_stops_and_says_so(
    clip: Path, tmp_path: Path
) -> None:
    disk = Disk(tmp_path, 20_000)
    taken = Taken(tmp_path, segment_s=60, open_file=disk.open)
    assert [number for _, number in taken.play(clip)] == list(range(FRAMES))
    wait_until(lambda: taken.recorder.status().state == "failed", "stopped")
    assert taken.names[-1] == "record.failed"
    assert taken.recorder.status().error == "No space left on device"
    assert taken.recorder.status().failures == 1
    (video,) = videos(tmp_path)
    numbers = numbers_in(video)
    whole = len(numbers) - REORDERED  # but for pictures that wait for others
    assert whole > 0 and numbers[:whole] == list(range(whole))
    disk.room = 10**9
    taken.recorder.switch(on=True)
    taken.play(clip)
    taken.end()
    assert numbers_in(videos(tmp_path)[-1]) == list(range(FRAMES))
    assert taken.recorder.status().error == ""


def test_a_recording_that_is_asked_for_begins_before_that(clip: Path, tmp_path: Path) -> None:
    taken = Taken(tmp_path, start="request", pre_roll_s=300)
    with open_source(str(clip), tap=taken.recorder) as source:
        frames = iter(source)
        for _ in range(35):
            next(frames)
        assert not taken.events
        taken.recorder.switch(on=True)
        wait_until(lambda: taken.names == ["record.started"], "started")
        rest = len(list(frames))
    taken.recorder.switch(on=False)
    taken.end()
    assert rest == FRAMES - 35
    assert numbers_in(*videos(tmp_path)) == list(range(FRAMES))
    assert taken.names == ["record.started", "record.stopped"]


def packet(size: int, *, is_key: bool) -> Any:
    return Came(None, VideoPacket(bytes(size), 0, 0, 0, Fraction(1, 25), is_key), 0)  # type: ignore[arg-type]


def test_a_full_queue_drops_up_to_the_next_key_frame() -> None:
    queue = PacketQueue(max_bytes=100)
    for size, is_key in ((60, True), (50, False)):
        queue.put(packet(size, is_key=is_key))
    assert queue.dropped == 1
    assert queue.take(1) is not None
    queue.put(packet(5, is_key=False))
    assert queue.dropped == 2
    queue.put(packet(6, is_key=True))
    queue.put(packet(7, is_key=False))
    queue.end()
    taken = [queue.take(1), queue.take(1)]
    assert [len(item.packet.data) for item in taken if isinstance(item, Came)] == [6, 7]
    assert queue.is_over


def write_segment(folder: Path, stem: str, nbytes: int, age_s: float) -> None:
    for suffix in ("mp4", "mcap"):
        path = folder / f"{stem}.{suffix}"
        path.write_bytes(bytes(nbytes // 2))
        at_s = path.stat().st_mtime - age_s
        os.utime(path, (at_s, at_s))


def test_old_and_surplus_segments_go_in_pairs_the_oldest_first(tmp_path: Path) -> None:
    stems = [f"20260101T00000{digit}.000Z" for digit in range(5)]
    for stem, age_s in zip(stems, (7300, 3700, 30, 20, 10), strict=True):
        write_segment(tmp_path, stem, 1000, age_s)
    other = tmp_path / "notes.txt"
    other.write_text("mine")
    assert SegmentFolder(tmp_path, keep_s=3600).trim(None) == 2
    assert [one.stem for one in SegmentFolder(tmp_path).segments()] == stems[2:]
    assert SegmentFolder(tmp_path, keep_bytes=1500).trim(stems[4]) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{stems[4]}.mcap",
        f"{stems[4]}.mp4",
        "notes.txt",
    ]
    assert SegmentFolder(tmp_path, keep_bytes=1).trim(stems[4]) == 0
    assert not SegmentFolder(tmp_path).make_room(stems[4])


def test_segments_that_are_too_old_go_and_are_counted(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "cam").mkdir()
    write_segment(tmp_path / "cam", "20200101T000000.000Z", 10, 7200)
    taken = Taken(tmp_path, keep_h=1)
    taken.play(clip)
    taken.end()
    assert taken.recorder.status().removed_segments == 1
    assert not list((tmp_path / "cam").glob("2020*"))


def test_a_clock_that_is_set_back_does_not_change_the_order(tmp_path: Path) -> None:
    write_segment(tmp_path, "20260101T000000.500Z", 10, 0)
    folder = SegmentFolder(tmp_path)
    assert folder.new_stem(1_700_000_000 * 10**9) == "20260101T000000.501Z"
