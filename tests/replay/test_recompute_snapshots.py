"""Recordings that are tracked again from a snapshot: where, from when on, and why not before."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mcap.reader import make_reader

from tests.support.numbered_clip import numbered
from tests.support.recorded_run import CORRECTION, POLICY, PROMPT, RecordedRun, on_frame
from tests.support.recordings import reordered_clip
from tests.support.small_pico import small_pico
from tracker.cli.main import main
from tracker.daemon.messages import Command, RestoreCommand
from tracker.daemon.record import snapshots
from tracker.engine import Session
from tracker.models import Model
from tracker.protocol.recording import NoteTopic
from tracker.replay import recompute
from tracker.replay.recompute import Comparison, Recomputation
from tracker.replay.recording import open_recordings
from tracker.types import Prompt

pytestmark = pytest.mark.slow
FRAMES, EVERY = 100, 4
TRACKED = FRAMES // EVERY
COMMANDS: dict[int, list[Command]] = {4: [PROMPT], 12: [on_frame(CORRECTION, 8)]}


@dataclass
class Stored:
    """What the library of MCAP finds in the files of a folder.

    Attributes:
        masks: `seq` of the frames of the messages.
        snapshots: The notes, and when they were stored.
    """

    masks: list[int]
    snapshots: list[tuple[dict[str, Any], int]]

    @classmethod
    def of(cls, folder: Path) -> "Stored":
        found = cls([], [])
        for path in sorted((folder / "cam").glob("*.mcap")):
            with path.open("rb") as file:
                for schema, channel, message in make_reader(file).iter_messages():
                    if channel.topic == "masks.cam":
                        found.masks.append(json.loads(message.data)["frame"]["seq"])
                    elif channel.topic == "recorder/snapshots":
                        assert channel.message_encoding == "trackd-parts"
                        assert schema is not None and schema.name == "trackd.SnapshotNote"
                        size = int.from_bytes(message.data[:4], "little")
                        note = json.loads(message.data[4 : 4 + size])
                        found.snapshots.append((note, message.log_time))
        return found


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reordered_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", FRAMES)


@pytest.fixture(autouse=True)
def _unspaced() -> Iterator[None]:
    """Snapshots as often as segments begin, however fast the clip is played."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshots, "_SPACING_S", 0.0)
        yield


@pytest.fixture
def again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Comparison]:
    """Track what is recorded in the folder again with a model."""

    def run(model: Model, begin_ns: int | None = None) -> Comparison:
        loaded: Any = (model, POLICY, ())
        monkeypatch.setattr(recompute, "load_recorded", lambda note: loaded)
        (recording,) = open_recordings(tmp_path)
        return Recomputation(recording, begin_ns).run()

    return run


def recorded(clip: Path, folder: Path, **more: Any) -> RecordedRun:
    return RecordedRun(clip, folder, every=EVERY, **more)


def remove_first_segment(folder: Path) -> None:
    stem = min(path.stem for path in (folder / "cam").iterdir())
    for path in (folder / "cam").glob(f"{stem}.*"):
        path.unlink()


def test_a_recording_without_its_first_segment_is_the_same_from_its_first_snapshot_on(
    clip: Path, tmp_path: Path, again: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run = recorded(clip, tmp_path, commands=COMMANDS, snapshots=True)
    remove_first_segment(tmp_path)
    stored = Stored.of(tmp_path)
    assert len(stored.snapshots) >= 2
    found = again(run.model)
    first = stored.snapshots[0][0]["after_seq"]
    after = [seq for seq in stored.masks if seq > first]
    assert found.from_snapshot == first
    assert found.frames == found.same_bytes == len(after) > 10
    assert found.skipped == len(stored.masks) - len(after)
    assert found.is_equal and (found.restored, found.underived) == (0, 0)
    note, stored_ns = stored.snapshots[-1]
    found = again(run.model, stored_ns + 1)
    assert found.from_snapshot == note["after_seq"] > first
    assert found.frames == found.same_bytes == TRACKED - 1 - note["after_seq"] // EVERY
    assert main(["replay", str(tmp_path), "--recompute", "--from", "2020-01-01"]) == 0
    told = capsys.readouterr().out
    assert f"from the snapshot after {first} on, all the same, byte for byte" in told


def test_a_damaged_snapshot_is_told_and_the_next_one_used(
    clip: Path, tmp_path: Path, again: Any
) -> None:
    cut: list[int] = []

    def edit(topic: NoteTopic, parts: tuple[bytes, ...]) -> tuple[bytes, ...]:
        if topic is not NoteTopic.SNAPSHOTS or len(cut) == 2:
            return parts
        cut.append(json.loads(parts[0])["after_seq"])
        return parts[0], parts[1][:-1]

    run = recorded(clip, tmp_path, commands=COMMANDS, snapshots=True, edit=edit)
    remove_first_segment(tmp_path)
    stored = [note["after_seq"] for note, _ in Stored.of(tmp_path).snapshots]
    found = again(run.model)
    assert stored[0] == cut[1]
    assert found.from_snapshot == stored[1] and found.is_equal and found.frames
    (why,) = (one for one in found.reasons if "snapshot" in one)
    assert why.startswith(f"snapshot after frame {cut[1]} is damaged: ")


@pytest.mark.parametrize(("lost", "with_snapshots"), [(False, True), (False, False), (True, False)])
def test_what_follows_a_restore_is_the_same_or_left_out(
    clip: Path, tmp_path: Path, again: Any, lost: bool, with_snapshots: bool
) -> None:
    model = small_pico()
    session = Session(model, POLICY)
    session.step(numbered(0))
    session.prompt(Prompt(7, box_xyxy=(210, 105, 290, 185)))
    restore = RestoreCommand(Path("other"), data=session.to_bytes())
    if lost:
        restore = RestoreCommand(Path("other"), lost=True, objects=((7, "disc"),))
    commands: dict[int, list[Command]] = {4: [PROMPT], 40: [restore]}
    run = recorded(clip, tmp_path, model=model, commands=commands, snapshots=with_snapshots)
    found = again(run.model)
    if with_snapshots or lost:
        assert found.frames == found.same_bytes == TRACKED
        assert found.is_equal and (found.restored, found.reasons) == (0, [])
    else:
        assert found.frames == found.same_bytes == 1 + 40 // EVERY
        assert not found.is_equal and found.underived == TRACKED - found.frames
        assert found.reasons == ["objects were put back from outside the recording"]


def test_a_state_that_is_another_is_told_and_the_recorded_one_used(
    clip: Path, tmp_path: Path, again: Any
) -> None:
    run = recorded(clip, tmp_path, commands=COMMANDS, notes=False, snapshots=True)
    after = next(note["after_seq"] for note, _ in Stored.of(tmp_path).snapshots)
    found = again(run.model)
    assert (found.frames, found.first_different, found.restored) == (TRACKED, 4 + EVERY, 1)
    assert found.same_bytes == TRACKED - (after - 4) // EVERY
    assert found.reasons[-1].startswith(f"the state after frame {after} was another")
