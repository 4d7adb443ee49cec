"""Cost model and placement of the simulation, against figures that were worked out by hand."""

from dataclasses import replace

import pytest

from tools.simulate import cost
from tools.simulate.constants import Constants
from tools.simulate.placement import Node, Placement, Stream
from tracker.errors import UsageError

ROUND = replace(
    Constants(),
    camera_fps=25.0,
    tracked_fps=10.0,
    four_objects_share=0.25,
    decode_ms=4.0,
    track_ms_1=70.0,
    track_ms_4=98.0,
    encode_ms_1=1.0,
    encode_ms_4=3.0,
    snapshot_ms_1=100.0,
    snapshot_ms_4=200.0,
    snapshot_every_s=10.0,
    snapshot_bytes_1=1e6,
    snapshot_bytes_4=5e6,
    masks_bytes_1=3000.0,
    masks_bytes_4=11_000.0,
    viewers_per_stream=2.0,
    node_cores=10,
    target_share=0.8,
    spare_share=0.1,
    gpu_ms_1=15.0,
    gpu_ms_4=19.0,
)


def test_a_stream_costs_what_its_frames_do() -> None:
    # 25 x 4 decoding, 10 x (70 + 1) tracking and encoding, 100 / 10 for snapshots.
    assert cost.stream_cost(ROUND, 1).core_ms_per_s == pytest.approx(820)
    assert cost.stream_cost(ROUND, 4).core_ms_per_s == pytest.approx(100 + 1010 + 20)
    mean = cost.mean_cost(ROUND)
    assert mean.core_ms_per_s == pytest.approx(0.75 * 820 + 0.25 * 1130)  # 897.5
    assert mean.gpu_core_ms_per_s == pytest.approx(0.75 * 120 + 0.25 * 150)
    assert mean.snapshot_bytes == pytest.approx(2e6)


def test_nodes_are_those_needed_and_spare_ones() -> None:
    assert cost.node_streams(ROUND) == 8  # 10 x 1000 x 0.8 / 897.5 = 8.9
    assert [cost.node_count(ROUND, cameras) for cameras in (1, 8, 9, 800)] == [2, 2, 3, 110]
    assert cost.node_count(replace(ROUND, spare_share=0.0), 8) == 2  # one is always spare
    assert cost.gpu_count(ROUND, 100) == 20  # 100 x 160 ms/s / 800


def test_memory_bounds_a_node_too() -> None:
    small = replace(ROUND, node_mib=4096.0, node_base_mib=96.0, worker_mib=350.0, stream_mib=100.0)
    assert cost.node_streams(small) == 5  # (4096 - 96 - 3500) / 100
    with pytest.raises(UsageError, match="holds no stream"):
        cost.node_streams(replace(small, node_mib=3600.0))


def test_a_part_is_full_where_its_load_is_its_capacity() -> None:
    parts = {part.name: part for part in cost.shared_parts(replace(ROUND, store_bytes_per_s=1e9))}
    store = parts["store: bytes of snapshots"]
    assert store.full_at_cameras == 5000  # of 200 kB/s each
    assert store.share(2500) == pytest.approx(0.5)
    full = [part.full_at_cameras for part in cost.shared_parts(ROUND)]
    assert full == sorted(full)


def test_the_head_is_full_where_heartbeats_take_a_second_a_second() -> None:
    # A node of 8 streams, a tenth of them spare: (2 x 1.1 / 8 + 0.025) ms a stream a second.
    c = replace(ROUND, request_ms=2.0, heartbeat_stream_ms=0.025, heartbeat_every_s=1.0)
    parts = {part.name: part for part in cost.shared_parts(c)}
    assert parts["head: heartbeats alone"].full_at_cameras == 3333


def test_streams_go_where_most_is_left() -> None:
    nodes = [Node(0, 0, 100, 9), Node(1, 0, 150, 9), Node(2, 0, 150, 1)]
    placement = Placement(nodes)
    needs = [60, 40, 80, 70, 10]
    streams = [Stream(name, 1, need) for name, need in enumerate(needs)]
    placed = [placement.place(stream) for stream in streams]
    # Left: 100 150 150 | 100 90 150 | 100 90 full | 20 90 full | 20 20 full | 10 20 full
    assert [node and node.name for node in placed] == [1, 2, 0, 1, 0]
    assert placement.place(Stream(5, 1, 21)) is None
    assert [stream.epoch for stream in streams] == [1] * 5


def test_streams_of_a_dead_node_go_elsewhere_with_a_new_epoch() -> None:
    nodes = [Node(0, 0, 100, 9), Node(1, 0, 100, 9)]
    placement = Placement(nodes)
    streams = [Stream(name, 1, 40) for name in range(4)]
    for stream in streams:
        placement.place(stream)
    left = placement.expel(nodes[0])
    assert [stream.name for stream in left] == [0, 2]
    assert placement.place(left[0]) is None  # 20 are left on node 1, and none on a dead one
    placement.admit(nodes[0])
    assert placement.place(left[0]) is nodes[0]
    assert (left[0].epoch, streams[1].epoch) == (2, 1)
