"""Graphs of a network, with a stand-in for capture: what is replayed, and that masks stay."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.moving_scene import HEIGHT, WIDTH, frame
from tests.support.random_sam2 import random_sam2
from tests.support.rerun_capture import RerunCapture
from tests.support.small_pico import optimized_small_pico
from tests.support.small_pico import small_pico as pico_of_size
from tracker.engine import OFFICIAL, ComputeBudget, Policy, Session
from tracker.models import Model, load, load_model
from tracker.models.base import Memories
from tracker.models.load import with_graphs
from tracker.models.optim.graphs.capture import Work
from tracker.models.optim.graphs.network import GraphedNetwork, PixelModel
from tracker.models.optim.graphs.static_function import Row, StaticFunction
from tracker.models.optim.plan import CUDA_GRAPHS
from tracker.models.precision import inference_in
from tracker.models.sam2.adapter import Sam2Model
from tracker.types import Prompt

CPU = torch.device("cpu")
SMALL_BUCKETS = (1, 2, 4)
PARTS = 3  # of each bucket: memory attention, mask decoder, memory encoder
FULL = 15  # tracked frames after which an object of SAM 2 has all pointers
FULL_BUDGET = ComputeBudget()
ALL_FRAMES = Policy(keep_memories="all", gallery_entries=0, redetect=False)


def small_pico() -> Model:
    """pico for pictures of 64 pixels."""
    return pico_of_size(64)


@pytest.fixture(autouse=True)
def inference(request: pytest.FixtureRequest) -> Iterator[None]:
    with inference_in(torch.float32, CPU):
        yield


def recorded(model: Model, buckets: Sequence[int] = SMALL_BUCKETS) -> tuple[Model, RerunCapture]:
    """The model with graphs, and what counts them."""
    assert isinstance(model.network, PixelModel)
    network, capture = GraphedNetwork(model.network), RerunCapture()
    network.record(capture, model.input.size, buckets)
    return replace(model, network=network), capture


class TestStaticFunction:
    def function(self, *sizes: int) -> tuple[StaticFunction, RerunCapture, list[int]]:
        """Doubles numbers, three to an item; the list has the size of each batch it was run for."""
        run: list[int] = []

        def doubled(x_n3: Tensor) -> tuple[Tensor]:
            run.append(len(x_n3))
            return (2 * x_n3,)

        static, capture = StaticFunction(doubled, [Row((3,), torch.float32)], CPU), RerunCapture()
        for size in sizes:
            static.record(capture, size)
        run.clear()
        return static, capture, run

    @pytest.mark.parametrize(("items", "size"), [(1, 1), (2, 4), (3, 4), (4, 4), (5, 8), (8, 8)])
    def test_a_batch_goes_to_the_smallest_graph_that_holds_it(self, items: int, size: int) -> None:
        static, _, run = self.function(8, 4, 1)
        (found,) = static(torch.ones(items, 3)) or ()
        assert run == [size]
        assert torch.equal(found, torch.full((items, 3), 2.0))

    def test_more_than_the_largest_and_other_items_have_none(self) -> None:
        static, capture, run = self.function(4, 1)
        assert static(torch.ones(5, 3)) is None
        assert static(torch.ones(1, 4)) is None
        assert static(torch.ones(1, 3, dtype=torch.float64)) is None
        assert static(torch.ones(1, 3), torch.ones(1, 3)) is None
        assert (run, capture.captures, capture.replays) == ([], 2, 0)

    def test_buffers_are_filled_again_and_results_stay(self) -> None:
        static, capture, _ = self.function(4)
        (before,) = static(torch.full((3, 3), torch.nan)) or ()
        (after,) = static(torch.full((2, 3), 5.0)) or ()
        assert before.isnan().all()
        assert torch.equal(after, torch.full((2, 3), 10.0))
        assert (capture.captures, capture.replays) == (1, 2)

    def test_buffers_are_those_of_the_largest_batch(self) -> None:
        alone, _, _ = self.function(8)
        many, _, _ = self.function(8, 4, 2, 1)
        assert alone.nbytes == many.nbytes == 8 * 3 * 4 * 2  # in and out
        many(torch.ones(3, 3))
        assert many.nbytes == alone.nbytes


def boxes(count: int) -> list[tuple[float, float, float, float]]:
    """Boxes of objects in a grid over the picture."""
    across, down = WIDTH / 4, HEIGHT / 2
    return [
        (across * x + 4, down * y + 4, across * (x + 1) - 4, down * (y + 1) - 4)
        for y, x in (divmod(i, 4) for i in range(count))
    ]


def begin(model: Model, objects: int, policy: Policy = ALL_FRAMES) -> Session:
    session = Session(model, policy)
    session.step(frame(0))
    for number, box in enumerate(boxes(objects), start=1):
        session.prompt(Prompt(number, box_xyxy=box))
    return session


def logits(session: Session) -> Tensor:
    """Low-resolution logits of all objects on the newest frame."""
    return torch.cat([obj.outputs[-1].decoded.logits_n1ss for obj in session.state.objects.rows])


def track(session: Session, steps: int, first: int = 1) -> list[Tensor]:
    found = []
    for step in range(first, first + steps):
        session.step(frame(step))
        found.append(logits(session))
    return found


def assert_alike(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> None:
    """Up to the rounding of float32: the batches of products are others."""
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=5e-3)


@cache
def full_memory() -> bytes:
    """A session with two objects that remember all that they can, on the frame of step `FULL`."""
    with inference_in(torch.float32, CPU):
        session = begin(small_pico(), 2)
        track(session, FULL)
        return session.to_bytes()


@cache
def pico() -> tuple[Model, RerunCapture]:
    """pico with graphs, which the sessions of all tests share."""
    with inference_in(torch.float32, CPU):
        return recorded(small_pico())


def full_session(model: Model) -> Session:
    return Session.load(Path("unread"), model, data=full_memory())


class TestTracking:
    @pytest.mark.slow
    def test_masks_are_those_without_graphs(self) -> None:
        model, capture = pico()
        ours, theirs = begin(model, 3), begin(small_pico(), 3)
        before, captures = capture.replays, capture.captures
        assert captures == 1 + PARTS * len(SMALL_BUCKETS)
        assert_alike(track(ours, FULL), track(theirs, FULL))
        # Image encoder, mask decoder, memory encoder; then the memory attention, too.
        assert capture.replays - before == 3 * FULL
        before = capture.replays
        assert_alike(track(ours, 2, first=FULL + 1), track(theirs, 2, first=FULL + 1))
        assert capture.replays - before == 4 * 2
        assert capture.captures == captures

    @pytest.mark.slow
    def test_objects_that_remember_unequally_much_are_each_served(self) -> None:
        model, capture = pico()
        ours, theirs = full_session(model), full_session(small_pico())
        for session in (ours, theirs):
            session.prompt(Prompt(3, box_xyxy=boxes(3)[2]))
        before = capture.replays
        assert_alike(track(ours, 2, first=FULL + 1), track(theirs, 2, first=FULL + 1))
        assert capture.replays - before == 4 * 2  # the two; the third attends eagerly

    @pytest.mark.slow
    def test_sessions_take_turns(self) -> None:
        model, _ = pico()
        plain = small_pico()
        ours, theirs = (
            (full_session(model), begin(model, 1)),
            (full_session(plain), begin(plain, 1)),
        )
        for step in range(1, 4):
            for a, b in zip(ours, theirs, strict=True):
                shift = step + 5 * len(a.object_ids)
                assert_alike(track(a, 1, first=shift), track(b, 1, first=shift))

    @pytest.mark.slow
    def test_a_history_is_not_overwritten(self) -> None:
        model, _ = pico()
        session = begin(model, 1)
        track(session, 3)
        kept = [held.encoded.features.top_1chw.clone() for held in session.state.history]
        outputs = session.state.objects.rows[0].outputs
        masks = [out.decoded.logits_n1ss.clone() for out in outputs]
        last = track(session, 3, first=4)[-1].clone()
        track(begin(model, 2), 2, first=9)
        for held, top_1chw in zip(session.state.history, kept, strict=False):
            assert torch.equal(held.encoded.features.top_1chw, top_1chw)
        for out, mask in zip(outputs, masks, strict=False):
            assert torch.equal(out.decoded.logits_n1ss, mask)
        assert torch.equal(logits(session), last)


class TestFallbacks:
    """What no graph serves is computed as it was, and nothing is recorded for it."""

    def sessions(self, objects: int, policy: Policy = ALL_FRAMES) -> tuple[Session, Session]:
        model, self.capture = pico()
        self.captures = self.capture.captures
        return begin(model, objects, policy), begin(small_pico(), objects, policy)

    def check(self, ours: Session, theirs: Session, budget: ComputeBudget = FULL_BUDGET) -> int:
        """Take a step; returns how often a graph was replayed."""
        before, step = self.capture.replays, ours.steps[-1] + 1
        for session in (ours, theirs):
            session.step(frame(step), budget)
        assert_alike([logits(ours)], [logits(theirs)])
        assert self.capture.captures == self.captures
        return self.capture.replays - before

    @pytest.mark.slow
    def test_a_prompt_is_decoded_eagerly(self) -> None:
        ours, theirs = self.sessions(1)
        self.check(ours, theirs)
        before = self.capture.replays
        for session in (ours, theirs):
            session.prompt(Prompt(1, points_xy=((20.0, 30.0),), point_labels=(1,)))
        assert self.capture.replays == before
        assert_alike([logits(ours)], [logits(theirs)])

    @pytest.mark.slow
    def test_a_prompt_on_an_older_frame_is_replayed_from_there(self) -> None:
        ours, theirs = self.sessions(1)
        for _ in range(4):
            self.check(ours, theirs)
        for session in (ours, theirs):
            session.prompt(Prompt(1, box_xyxy=boxes(2)[1]), step=2)
        assert_alike([logits(ours)], [logits(theirs)])
        assert self.check(ours, theirs) == 3

    @pytest.mark.slow
    def test_more_objects_than_the_largest_graph_are_tracked_eagerly(self) -> None:
        ours, theirs = self.sessions(SMALL_BUCKETS[-1] + 1)
        assert self.check(ours, theirs) == 1  # the image encoder's

    @pytest.mark.slow
    def test_fewer_memories_attend_eagerly(self) -> None:
        model, self.capture = pico()
        self.captures = self.capture.captures
        ours, theirs = full_session(model), full_session(small_pico())
        assert self.check(ours, theirs) == 4
        assert self.check(ours, theirs, ComputeBudget(memories=2)) == 3
        assert self.check(ours, theirs) == 4

    @pytest.mark.slow
    def test_pictures_of_another_size_have_no_graphs(self) -> None:
        pico = pico_of_size(128)
        own = pico.network
        assert isinstance(own, Sam2Model)
        resizable = Sam2Model(own.module, own.input, resizable=True)
        plain = replace(pico, network=resizable, sizes={})
        model, self.capture = recorded(plain)
        self.captures = self.capture.captures
        ours, theirs = begin(model, 1), begin(replace(plain, sizes={}), 1)
        assert self.check(ours, theirs, ComputeBudget(input_size=96)) == 0
        assert self.check(ours, theirs) == 3

    @pytest.mark.slow
    def test_distractors_are_looked_for_eagerly(self) -> None:
        policy = replace(ALL_FRAMES, keep_memories="distractors")
        assert self.check(*self.sessions(1, policy)) == 2  # image encoder, memory encoder

    @pytest.mark.slow
    def test_whole_memories_of_a_network_that_pools_them_have_no_graphs(self) -> None:
        assert self.check(*self.sessions(1, OFFICIAL)) == 0


def buffer_bytes(model: Model) -> int:
    assert isinstance(model.network, GraphedNetwork)
    return model.network.nbytes


class TestNetwork:
    @pytest.mark.slow
    def test_without_graphs_it_is_the_network(self) -> None:
        plain = small_pico()
        assert isinstance(plain.network, PixelModel)
        model = replace(plain, network=GraphedNetwork(plain.network))
        ours, theirs = begin(model, 1), begin(plain, 1)
        for a, b in zip(track(ours, 2), track(theirs, 2), strict=True):
            assert torch.equal(a, b)

    @pytest.mark.slow
    def test_buffers_do_not_grow(self) -> None:
        model, _ = pico()
        other, _ = recorded(small_pico(), SMALL_BUCKETS[-1:])
        before = buffer_bytes(model)
        track(full_session(model), 2, first=FULL + 1)
        assert buffer_bytes(model) == before == buffer_bytes(other)

    @pytest.mark.slow
    def test_bytes_are_those_of_the_formula(self) -> None:
        """That of docs/performance.md, of a network in float32 at 128 pixels for four objects."""
        plain = random_sam2()
        model, _ = recorded(plain, [4])
        side, channels, map_channels, size = 128 // 16, 256, 64, 4
        levels = channels + 4 * channels // 4 + 16 * channels // 8
        image = 3 * 128**2 * 4 + side**2 * levels * size
        mask, place = (4 * side) ** 2 * 4, side**2 * channels * size
        memory = 7 * side**2 * map_channels * 2 + 7 * 8 + 16 * (channels * 4 + 4)
        results = 4 + 4 + channels * 4 + side**2 * map_channels * size
        each = memory + 2 * place + 2 * mask + 4 + results
        assert buffer_bytes(model) == image + 4 * each

    def test_the_host_is_not_waited_for_in_a_graph(self) -> None:
        capture, x_n = RerunCapture(), torch.arange(3.0)
        asking: list[Callable[[], object]] = [
            lambda: x_n.sum().item(),
            lambda: bool(x_n.any()),
            lambda: x_n[x_n > 1],
            lambda: torch.tensor([1.0]),
        ]
        for ask in asking:
            with pytest.raises(RuntimeError, match="needs the host"):
                capture.record(cast(Work, ask))


@pytest.mark.parametrize(
    ("build", "dtype"),
    [
        (random_sam2, torch.float32),
        (small_pico, torch.float32),
        pytest.param(small_pico, torch.bfloat16, marks=pytest.mark.slow),
    ],
)
def test_each_part_has_a_graph(build: Callable[[], Model], dtype: torch.dtype) -> None:
    """An official network is shown no mask on a tracked frame, and does not pool memories."""
    with inference_in(dtype, CPU):
        check_parts(build(), 3, bucket=4, atol=5e-3 if dtype == torch.float32 else 0.5)


@pytest.mark.slow
def test_parts_of_pico_as_it_is_loaded() -> None:
    check_parts(load_model("pico", device="cpu", dtype="fp32"), 3, bucket=4)


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 8])
def test_parts_of_a_full_bucket(number: int) -> None:
    check_parts(optimized_small_pico(), number, bucket=number)


def check_parts(plain: Model, objects: int, bucket: int, atol: float = 5e-3) -> None:
    """Compare each part's results with those of the network itself."""
    assert isinstance(plain.network, Sam2Model)
    model, capture = recorded(plain, [bucket])
    before = capture.replays
    for ours, theirs in zip(parts(model, objects), parts(plain, objects), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=atol)
    assert capture.replays - before == 4


def parts(model: Model, n: int) -> list[Tensor]:
    """Results of a step of n objects that remember random maps."""
    network, spec, random = model.network, model.network.memory, torch.Generator().manual_seed(n)
    maps, pointers = spec.recent + 1, spec.pointers + 1
    memories = Memories(
        torch.randn(n, maps, spec.tokens, spec.map_channels, generator=random).bfloat16(),
        torch.arange(maps).flip(0).expand(n, -1),
        torch.randn(n, pointers, spec.pointer_channels, generator=random),
        torch.arange(pointers, dtype=torch.float32).expand(n, -1),
    )
    side = network.mask_side
    drawn_n1ss = 10 * torch.randn(n, 1, side, side, generator=random).sign()
    previous_n1ss = drawn_n1ss if network.capabilities.follows_masks else None
    features = network.encode_image(np.resize(frame(0), (model.input.size, model.input.size, 3)))
    conditioned_nchw = network.condition(features, [memories])
    decoded = network.decode(
        features, conditioned_nchw, previous_n1ss=previous_n1ss, shows_masks=True
    )
    memory_nqm = network.encode_memory(features, decoded, from_prompt=False)
    return [
        features.top_1chw,
        *features.high_res,
        conditioned_nchw,
        decoded.logits_n1ss,
        decoded.presence_n1,
        decoded.pointers_nc,
        memory_nqm,
    ]


class FullDevice:
    """A `Capture` on a device without memory left."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def record(self, work: Work) -> Work:
        raise torch.OutOfMemoryError("CUDA out of memory.\nMore about it.")


class TestLoading:
    @pytest.mark.slow
    def test_a_cpu_tracks_with_the_network_itself(self) -> None:
        model = load_model("pico", device="cpu", dtype="fp32")
        assert isinstance(model.network, Sam2Model)
        assert CUDA_GRAPHS not in model.optimizations

    def test_where_they_cannot_be_recorded_it_tracks_without(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(load, "CudaCapture", FullDevice)
        model = replace(small_pico(), optimizations=("one_dtype", CUDA_GRAPHS))
        plain = with_graphs(model)
        assert plain.network is model.network
        assert plain.optimizations == ("one_dtype",)
        assert "TRACKD_WITHOUT=cuda_graphs" in caplog.text
