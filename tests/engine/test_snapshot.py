"""Snapshots: a session goes on bit for bit, in this process or in another; damage is told."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.moving_scene import frame, square
from tests.support.small_pico import optimized_small_pico, small_pico
from tests.support.warm_python import python
from tracker.engine import OFFICIAL, ComputeBudget, Policy, Session
from tracker.errors import SnapshotError
from tracker.models import Model
from tracker.types import Prompt, TrackResult

CONTINUE = """
import sys
from pathlib import Path
import numpy as np
sys.path.insert(0, "tests")
from tests.support.moving_scene import frame
from tracker.engine import Session
from tests.support.small_pico import optimized_small_pico
session = Session.load(Path(sys.argv[1]), optimized_small_pico())
masks = [[o.mask_hw for o in session.step(frame(i)).objects] for i in range(5, 8)]
np.save(sys.argv[2], np.array(masks))
"""


@pytest.fixture(scope="module")
def model() -> Model:
    return optimized_small_pico()


@pytest.fixture
def session(model: Model) -> Session:
    return tracking(model)


@pytest.fixture
def quick_session() -> Session:
    return tracking(small_pico())


def tracking(model: Model) -> Session:
    session = Session(model, Policy(lost_after=7))
    session.step(frame(0))
    session.prompt(Prompt(3, mask_hw=square(0), label="square"))
    for i in range(1, 5):
        session.step(frame(i))
    session.prompt(Prompt(1, box_xyxy=(54, 40, 94, 80)))
    return session


def assert_equal(ours: TrackResult, theirs: TrackResult) -> None:
    assert ours.step == theirs.step
    for a, b in zip(ours.objects, theirs.objects, strict=True):
        assert np.array_equal(a.mask_hw, b.mask_hw)
        assert replace(a, mask_hw=None) == replace(b, mask_hw=None)


def without_identity(result: TrackResult) -> TrackResult:
    """What does not come from galleries."""
    return replace(result, objects=tuple(replace(obj, identity=None) for obj in result.objects))


@pytest.mark.slow
def test_a_restored_session_goes_on_bit_for_bit(
    session: Session, model: Model, tmp_path: Path
) -> None:
    session.save(tmp_path / "s")
    restored = Session.load(tmp_path / "s", model)
    assert restored.policy == session.policy
    assert_equal(restored.result(), session.result())
    correction = Prompt(3, ((60.0, 50.0),), (1,))
    restored.prompt(correction)
    session.prompt(correction)
    for i in range(5, 9):
        assert_equal(restored.step(frame(i)), session.step(frame(i)))


@pytest.mark.slow
def test_objects_that_take_turns_go_on_bit_for_bit(
    session: Session, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model.network.module, "follows_masks", True)
    by_turns = ComputeBudget(objects_per_frame=1)
    session.step(frame(5), by_turns)
    session.save(tmp_path / "s")
    restored = Session.load(tmp_path / "s", model)
    for i in range(6, 10):
        assert_equal(restored.step(frame(i), by_turns), session.step(frame(i), by_turns))


@pytest.mark.slow
@pytest.mark.parametrize("keep", ["all", "present", "confident", "distractors"])
def test_a_long_session_goes_on_bit_for_bit_though_its_snapshot_is_short(
    model: Model, tmp_path: Path, keep: str
) -> None:
    session = Session(model, Policy(history_frames=3, keep_memories=keep))
    session.step(frame(0))
    session.prompt(Prompt(3, mask_hw=square(0)))
    for i in range(1, 1 + session.state.bank.shape.recent_ring + 2):  # past every ring's end
        session.step(frame(i % 9))
    session.save(tmp_path / "s")
    restored = Session.load(tmp_path / "s", model)
    correction = Prompt(3, ((80.0, 60.0),), (1,))
    assert_equal(restored.step(frame(1)), session.step(frame(1)))
    for either in (restored, session):
        either.prompt(correction)
    for i in range(2, 5):
        assert_equal(restored.step(frame(i)), session.step(frame(i)))


@pytest.mark.slow
def test_a_snapshot_leaves_out_what_is_kept_for_prompts_on_past_frames(session: Session) -> None:
    held = session.state.bank.tensors(session.state.history[-1].step)
    kept_bytes = sum(tensor.nbytes for tensor in held.values()) / len(session.object_ids)
    assert kept_bytes < session.state.bank.shape.bytes_per_object / 3


@pytest.mark.slow
def test_another_process_gives_identical_masks(session: Session, tmp_path: Path) -> None:
    session.save(tmp_path / "s")
    arguments = [*python(), "-c", CONTINUE, str(tmp_path / "s"), str(tmp_path / "m.npy")]
    subprocess.run(arguments, check=True, cwd=Path(__file__).parents[2])
    masks = np.load(tmp_path / "m.npy")
    for i, theirs in zip(range(5, 8), masks, strict=True):
        ours = np.array([o.mask_hw for o in session.step(frame(i)).objects])
        assert ours.any()
        assert np.array_equal(ours, theirs)


def test_an_empty_session_can_be_saved(model: Model, tmp_path: Path) -> None:
    Session(model).save(tmp_path / "s")
    restored = Session.load(tmp_path / "s", model)
    assert restored.object_ids == ()
    assert restored.step(frame(0)).step == 0


@pytest.mark.slow
def test_other_weights_are_refused(quick_session: Session, tmp_path: Path) -> None:
    quick_session.save(tmp_path / "s")
    with pytest.raises(SnapshotError, match="other weights"):
        Session.load(tmp_path / "s", replace(small_pico(), fingerprint="another"))


@pytest.mark.slow
def test_an_input_of_another_size_is_refused(quick_session: Session, tmp_path: Path) -> None:
    quick_session.save(tmp_path / "s")
    model = small_pico()
    larger = replace(model, input=replace(model.input, size=model.input.size + 32), sizes={})
    with pytest.raises(SnapshotError, match=f"at {model.input.size} pixels, not"):
        Session.load(tmp_path / "s", larger)


@pytest.mark.slow
@pytest.mark.parametrize("keep", [0, 5, 200, 5000, -1])
def test_a_damaged_snapshot_is_told(quick_session: Session, tmp_path: Path, keep: int) -> None:
    quick_session.save(tmp_path / "s")
    (tmp_path / "s").write_bytes((tmp_path / "s").read_bytes()[:keep])
    with pytest.raises(SnapshotError, match="damaged"):
        Session.load(tmp_path / "s", small_pico())


@pytest.mark.slow
def test_a_snapshot_of_another_version_is_told(quick_session: Session, tmp_path: Path) -> None:
    quick_session.save(tmp_path / "s")
    data = (tmp_path / "s").read_bytes()
    older = data.replace(b'\\"version\\":8', b'\\"version\\":1')
    assert older != data
    (tmp_path / "s").write_bytes(older)
    with pytest.raises(SnapshotError, match="of version 1, not 8"):
        Session.load(tmp_path / "s", small_pico())


def as_version_7(data: bytes) -> bytes:
    """A snapshot as the version before wrote it, which knew no galleries."""
    return rewritten(data, without_galleries)


def as_version_6(data: bytes) -> bytes:
    """A snapshot as an earlier version wrote it, with the older names."""

    def older(meta: dict[str, Any]) -> None:
        without_galleries(meta)
        meta |= {"version": 6, "effort": meta.pop("budget")}
        meta["policy"]["keep_memories"] = "sure"

    return rewritten(data, older)


def without_galleries(meta: dict[str, Any]) -> None:
    meta["version"] = 7
    for name in ("gallery_entries", "redetect"):
        del meta["policy"][name]
    for item in meta["objects"]:
        for name in ("own", "distractors", "identity", "doubted"):
            del item[name]


def rewritten(data: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """A snapshot with another header."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    meta = json.loads(header["__metadata__"]["trackd"])
    change(meta)
    header["__metadata__"]["trackd"] = json.dumps(meta)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


@pytest.mark.slow
def test_a_snapshot_of_the_version_before_goes_on_with_new_galleries(
    session: Session, model: Model, tmp_path: Path
) -> None:
    restored = Session.load(tmp_path / "s", model, data=as_version_7(session.to_bytes()))
    assert restored.policy == session.policy
    ours, theirs = restored.step(frame(5)), session.step(frame(5))
    assert [obj.identity for obj in ours.objects] == [None, None]
    assert_equal(without_identity(ours), without_identity(theirs))
    assert [len(obj.gallery) for obj in restored.state.objects.rows] == [1, 1]


@pytest.mark.slow
def test_an_official_snapshot_of_the_version_before_stays_official(
    model: Model, tmp_path: Path
) -> None:
    session = Session(model, OFFICIAL)
    session.step(frame(0))
    session.prompt(Prompt(1, mask_hw=square(0)))
    restored = Session.load(tmp_path / "s", model, data=as_version_7(session.to_bytes()))
    assert restored.policy == OFFICIAL
    assert_equal(restored.step(frame(1)), session.step(frame(1)))


@pytest.mark.slow
def test_a_snapshot_of_an_earlier_version_goes_on(
    session: Session, model: Model, tmp_path: Path
) -> None:
    session.step(frame(5), ComputeBudget(memories=1))
    older = as_version_6(session.to_bytes())
    restored = Session.load(tmp_path / "s", model, data=older)
    assert restored.policy == session.policy
    assert restored.policy.keep_memories == "confident"
    assert restored.state.budget == ComputeBudget(memories=1)
    ours, theirs = restored.step(frame(6)), session.step(frame(6))
    assert_equal(without_identity(ours), without_identity(theirs))


@pytest.mark.slow
def test_a_snapshot_with_a_policy_that_nobody_knows_is_refused(
    quick_session: Session, tmp_path: Path
) -> None:
    quick_session.save(tmp_path / "s")
    data = (tmp_path / "s").read_bytes()
    wrong = data.replace(b"confident", b"confidant")
    assert wrong != data
    with pytest.raises(SnapshotError, match="no memory policy 'confidant'"):
        Session.load(tmp_path / "s", small_pico(), data=wrong)


def test_a_missing_snapshot_is_told(model: Model, tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="no snapshot"):
        Session.load(tmp_path / "s", model)


@pytest.mark.slow
def test_a_write_that_fails_keeps_the_snapshot_before(
    quick_session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick_session.save(tmp_path / "s")
    before = (tmp_path / "s").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    quick_session.step(frame(5))
    with pytest.raises(SnapshotError, match="No space left"):
        quick_session.save(tmp_path / "s")
    assert (tmp_path / "s").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["s"]
    restored = Session.load(tmp_path / "s", small_pico())
    assert torch.is_tensor(restored.state.history[-1].features.top_1chw)
