"""Clips to record, and recorders that are fed from real sources."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av

from streams import open_source
from tests.support.numbered_clip import number_of, numbered
from tests.support.streams_clips import write_clip
from tracker.daemon.messages import Event
from tracker.daemon.record.video import VideoRecorder
from tracker.protocol.fields import RecordSettings
from tracker.protocol.recording import EndNote, NoteTopic, SegmentNote

GROUP = 10  # frames from a key frame to the next
FPS = 25


def reordered_clip(path: Path, frames: int = 60) -> Path:
    """H.264 with B-frames, a key frame every `GROUP` frames, and a number in each picture."""
    options = {"g": str(GROUP), "bf": "2", "x264-params": "scenecut=0:b-adapt=0:open-gop=0"}
    return write_clip(path, [numbered(number) for number in range(frames)], options=options)


def numbers_in(video: Path) -> list[int]:
    """The numbers of all pictures of a video, by another reader than ours."""
    with av.open(str(video)) as container:
        frames = container.decode(video=0)
        return [number_of(frame.to_ndarray(format="rgb24")) for frame in frames]


class Taken:
    """A recorder of one stream, and what it told."""

    def __init__(
        self, folder: Path, *, open_file: Callable[..., Any] | None = None, **settings: Any
    ):
        self.notes: list[SegmentNote] = []
        self.events: list[Event] = []
        self.ends: list[EndNote] = []
        more = {} if open_file is None else {"open_file": open_file}
        self.recorder = VideoRecorder(
            "cam",
            RecordSettings(dir=folder, **settings),
            setup={"version": "1", "model": {}, "settings": {}},
            on_note=self._note,
            on_event=self.events.append,
            **more,
        )
        self.recorder.start()

    def _note(self, topic: NoteTopic, note: SegmentNote | EndNote) -> None:
        if isinstance(note, SegmentNote):
            self.notes.append(note)
        else:
            self.ends.append(note)

    def play(self, clip: Path) -> list[tuple[int, int]]:
        """Decode a clip with the recorder as its tap; returns pts and number of each picture."""
        with open_source(str(clip), tap=self.recorder) as source:
            return [(frame.pts or 0, number_of(frame.image)) for frame in source]

    def end(self) -> None:
        assert self.recorder.close(30)

    @property
    def names(self) -> list[str]:
        return [event.name for event in self.events]
