"""Pictures encoded ahead: the same results, whatever comes between, and no thread left behind."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.moving_scene import frame, square
from tests.support.small_pico import small_pico
from tracker.engine import FULL, ComputeBudget, Session, prefetch, session
from tracker.engine.prefetch import can_prefetch
from tracker.helper import HelperThread, helper_thread
from tracker.models import Model, load_model, resized
from tracker.models.optim.fused_conv import can_fuse
from tracker.types import Prompt, TrackResult

SMALL = ComputeBudget(input_size=192)
FRAMES = [frame(shift) for shift in range(7)]


@pytest.fixture(scope="module")
def loaded() -> Model:
    """In bf16 where the processor is made for it: without, one step takes most of a minute."""
    dtype = "bf16" if can_fuse() else "fp32"
    return resized(load_model("pico", device="cpu", dtype=dtype), 256)


@pytest.fixture
def model(loaded: Model, two_threads: None) -> Model:
    """Computes alike in a helper and without; in float32 each thread computes alone."""
    if loaded.dtype == torch.float32:
        torch.set_num_threads(1)
    return loaded


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Wherever the test runs, and however long the objects take there."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.setattr(prefetch, "AHEAD_RATIO", 1e9)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def encoded_by(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The threads that encoded pictures, one entry each."""
    names: list[str] = []
    encode = prefetch.encode

    def noted(model: Model, small_hwc: np.ndarray) -> object:
        names.append(threading.current_thread().name)
        return encode(model, small_hwc)

    monkeypatch.setattr(prefetch, "encode", noted)
    monkeypatch.setattr(session, "encode", noted)
    return names


@pytest.fixture
def helper() -> Iterator[HelperThread]:
    helper = HelperThread()
    yield helper
    helper.close()


def begun(model: Model, helper: HelperThread | None = None) -> Session:
    """The square, prompted on the first frame."""
    one = Session(model, helper=helper)
    one.step(FRAMES[0])
    one.prompt(Prompt(1, mask_hw=square(0)))
    return one


def logits(one: Session) -> list[torch.Tensor]:
    return [obj.outputs[-1].decoded.logits_n1ss for obj in one.state.objects.rows]


def go(
    one: Session, *, prefetching: bool, efforts: dict[int, ComputeBudget] | None = None
) -> list[object]:
    """Logits and masks of the frames after the first."""
    found: list[object] = []
    for i in range(1, len(FRAMES)):
        if prefetching and i + 1 < len(FRAMES):
            one.prefetch(FRAMES[i + 1])
        result = one.step(FRAMES[i], (efforts or {}).get(i, FULL))
        found.append((logits(one), [obj.mask_hw for obj in result.objects]))
    return found


def assert_same(ours: list[object], theirs: list[object]) -> None:
    assert len(ours) == len(theirs)
    for (logits_a, masks_a), (logits_b, masks_b) in zip(ours, theirs, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(logits_a, logits_b, strict=True))
        assert np.array_equal(masks_a, masks_b)


def only_mask(result: TrackResult) -> np.ndarray:
    (obj,) = result.objects
    return obj.mask_hw


class TestResults:
    @pytest.mark.slow
    def test_they_are_the_same_bit_for_bit(
        self, model: Model, encoded_by: list[str], helper: HelperThread
    ) -> None:
        plain = go(begun(model), prefetching=False)
        assert not any(name.startswith("helper") for name in encoded_by)
        encoded_by.clear()
        assert_same(go(begun(model, helper), prefetching=True), plain)
        helped = [name.startswith("helper") for name in encoded_by]
        assert sum(helped) == len(FRAMES) - 2, "all but the first, and the one before it began"

    @pytest.mark.slow
    def test_a_change_of_the_input_size_throws_the_encoding_away(
        self, model: Model, helper: HelperThread
    ) -> None:
        efforts = {3: SMALL, 4: SMALL, 6: SMALL}
        plain = go(begun(model), prefetching=False, efforts=efforts)
        assert_same(go(begun(model, helper), prefetching=True, efforts=efforts), plain)

    @pytest.mark.slow
    def test_a_snapshot_taken_meanwhile_goes_on_alike(
        self, model: Model, tmp_path: Path, helper: HelperThread
    ) -> None:
        one = begun(model, helper)
        one.prefetch(FRAMES[2])
        one.step(FRAMES[1])
        one.save(tmp_path / "s")
        other = Session.load(tmp_path / "s", model)
        assert np.array_equal(
            only_mask(one.step(FRAMES[2])), only_mask(other.step(FRAMES[2].copy()))
        )

    @pytest.mark.slow
    def test_another_picture_may_come_after_all(self, model: Model, helper: HelperThread) -> None:
        plain, one = begun(model), begun(model, helper)
        for i, coming in ((1, 4), (2, 5), (3, 3), (6, 1)):
            one.prefetch(FRAMES[coming])
            assert np.array_equal(only_mask(one.step(FRAMES[i])), only_mask(plain.step(FRAMES[i])))

    @pytest.mark.slow
    def test_a_prompt_means_the_newest_frame(self, model: Model, helper: HelperThread) -> None:
        one = begun(model, helper)
        one.prefetch(FRAMES[2])
        one.step(FRAMES[1])
        assert one.prompt(Prompt(2, mask_hw=square(1))).step == 1
        assert [obj.id for obj in one.step(FRAMES[2]).objects] == [1, 2]

    @pytest.mark.slow
    def test_the_time_ahead_is_told(self, model: Model, helper: HelperThread) -> None:
        one = begun(model, helper)
        one.prefetch(FRAMES[2])
        first = one.step(FRAMES[1]).times
        helper.submit(lambda: None).result()  # done by now
        second = one.step(FRAMES[2]).times
        assert first.ahead_s == 0 < second.ahead_s < second.encode_s


class TestWhereItDoesNothing:
    def test_sums_in_float32_depend_on_the_threads(self, helper: HelperThread) -> None:
        one = begun(small_pico(), helper)
        assert not one.prefetches
        torch.set_num_threads(1)
        assert one.prefetches

    def test_without_a_helper(self, model: Model) -> None:
        assert not begun(model).prefetches

    def test_where_torch_was_given_one_thread_there_is_no_helper(self) -> None:
        made = helper_thread()
        assert made is not None
        made.close()
        torch.set_num_threads(1)
        assert helper_thread() is None

    def test_on_another_device(self, model: Model, helper: HelperThread) -> None:
        assert not can_prefetch(replace(model, device=torch.device("cuda")), helper)

    def test_without_objects(
        self, model: Model, encoded_by: list[str], helper: HelperThread
    ) -> None:
        idle = Session(model, helper=helper)
        idle.prefetch(FRAMES[1])
        idle.step(FRAMES[0])
        idle.step(FRAMES[1])
        assert encoded_by == []

    def test_with_so_many_objects_that_it_wins_nothing(
        self, model: Model, monkeypatch: pytest.MonkeyPatch, helper: HelperThread
    ) -> None:
        one = begun(model, helper)
        one.step(FRAMES[1])
        assert one.prefetches
        monkeypatch.setattr(prefetch, "AHEAD_RATIO", 0.0)
        assert not one.prefetches


class TestTheSecondThread:
    @pytest.mark.slow
    def test_its_error_is_raised_by_the_step_and_nothing_is_lost(
        self, model: Model, monkeypatch: pytest.MonkeyPatch, helper: HelperThread
    ) -> None:
        plain, one = begun(model), begun(model, helper)
        encode = prefetch.encode

        def fail(*_: object) -> None:
            raise RuntimeError("out of luck")

        monkeypatch.setattr(prefetch, "encode", fail)
        one.prefetch(FRAMES[2])
        one.step(FRAMES[1])
        with pytest.raises(RuntimeError, match="out of luck"):
            one.step(FRAMES[2])
        monkeypatch.setattr(prefetch, "encode", encode)
        plain.step(FRAMES[1])
        assert np.array_equal(only_mask(one.step(FRAMES[2])), only_mask(plain.step(FRAMES[2])))

    @pytest.mark.slow
    def test_there_is_one_for_all_sessions(self, model: Model, helper: HelperThread) -> None:
        before = set(threading.enumerate())
        for _ in range(3):
            one = begun(model, helper)
            one.prefetch(FRAMES[2])
            one.step(FRAMES[1])
            one.step(FRAMES[2])
        made = set(threading.enumerate()) - before
        assert [thread.name for thread in made] == ["helper_0"]

    @pytest.mark.slow
    def test_sessions_that_take_turns_share_it(self, model: Model, helper: HelperThread) -> None:
        plain, one, other = begun(model), begun(model, helper), begun(model, helper)
        for i in range(1, len(FRAMES) - 1):
            other.prefetch(FRAMES[i])
            mask_hw = only_mask(one.step(FRAMES[i]))
            one.prefetch(FRAMES[i + 1])
            assert np.array_equal(only_mask(other.step(FRAMES[i])), mask_hw)
            assert np.array_equal(only_mask(plain.step(FRAMES[i])), mask_hw)

    @pytest.mark.slow
    def test_once_closed_the_step_does_it_all(self, model: Model, helper: HelperThread) -> None:
        plain, one = begun(model), begun(model, helper)
        helper.close()
        assert_same(go(one, prefetching=True), go(plain, prefetching=False))

    def test_it_has_its_share_of_the_threads_while_it_works(self, helper: HelperThread) -> None:
        go_on = threading.Event()
        theirs: list[int] = []

        def work() -> None:
            theirs.append(torch.get_num_threads())
            assert go_on.wait(60)

        working = helper.submit(work)
        with helper.sharing_threads() as rebalance:
            assert torch.get_num_threads() == 1
            go_on.set()
            working.result()
            rebalance()
            assert torch.get_num_threads() == 2
        assert theirs == [1]
        assert torch.get_num_threads() == 2

    @pytest.mark.slow
    def test_threads_made_later_compute_with_all(self, model: Model, helper: HelperThread) -> None:
        threads = torch.get_num_threads()
        go(begun(model, helper), prefetching=True)
        found: list[int] = []
        later = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        later.start()
        later.join()
        assert found == [threads]
