"""Simulation of a fleet: queueing theory, conservation, and outages worked out by hand."""

import math
import statistics
from collections import Counter
from dataclasses import replace

import pytest

from tools.simulate.constants import Constants
from tools.simulate.fleet import HOUR_S, FleetSimulation

NEVER_H = 1e12
QUIET = replace(
    Constants(),
    node_mtbf_h=NEVER_H,
    rack_mtbf_h=NEVER_H,
    head_mtbf_h=NEVER_H,
    store_slow_mtbf_h=NEVER_H,
)
#: An outage is the timeout, less half a heartbeat on average, half a key frame, and 0.5 s.
STEADY = replace(
    QUIET,
    heartbeat_every_s=2.0,
    heartbeat_timeout_s=11.0,
    key_frame_s=4.0,
    connect_s=0.5,
    restore_ms_1=0.001,
    restore_ms_4=0.001,
    store_bytes_per_s=1e15,
    store_objects_per_s=1e15,
    store_request_s=1e-9,
    node_link_bytes_per_s=1e15,
    request_ms=1e-6,
    spare_share=0.5,
)
MEAN_OUTAGE_S = 11.0 - 1.0 + 0.5 + 2.0


def test_nothing_fails_in_a_quiet_fleet() -> None:
    outcome = FleetSimulation(QUIET, 100, seed=0).run(8760)
    assert (outcome.down_mean, outcome.down_most, outcome.seconds_to_go_on) == (0, 0, Counter())


def test_streams_down_are_failures_times_their_length() -> None:
    """Little's law; deaths of nodes are independent, so their number is Poisson."""
    c = replace(STEADY, node_mtbf_h=100.0, node_repair_h=0.05)
    hours = 10_000.0
    outcome = FleetSimulation(c, 60, seed=3).run(hours)
    # Whichever nodes the streams are on, each stream's node fails 1 / 100 h while it is up.
    up_share = 1 / (1 + c.node_repair_h / c.node_mtbf_h)
    outages = 60 * hours / c.node_mtbf_h * up_share
    down_mean = outages / (hours * HOUR_S) * MEAN_OUTAGE_S
    # Streams fail by nodes, about 12 together: 60 x 100 / 12 = 500 deaths, a deviation of 4.5 %.
    assert outcome.seconds_to_go_on.total() == pytest.approx(outages, rel=4 * 0.045)
    assert outcome.down_mean == pytest.approx(down_mean, rel=4 * 0.05)
    mean_s = statistics.mean(outcome.seconds_to_go_on.elements())
    assert mean_s == pytest.approx(MEAN_OUTAGE_S, rel=0.02)


@pytest.mark.slow
def test_nodes_fail_as_an_alternating_renewal_process() -> None:
    """Of each cycle of running and repair there is one death."""
    c = replace(STEADY, node_mtbf_h=30.0, node_repair_h=10.0, heartbeat_timeout_s=5.0)
    simulation = FleetSimulation(c, 200, seed=5)
    hours = 4000.0
    expected = len(simulation.nodes) * hours / (30.0 + 10.0)
    deaths = simulation.run(hours).node_deaths
    assert deaths == pytest.approx(expected, abs=4 * math.sqrt(expected))


@pytest.mark.slow
def test_each_stream_has_one_owner_and_epochs_only_grow() -> None:
    c = replace(
        QUIET,
        node_mtbf_h=1.0,
        node_repair_h=0.2,
        rack_mtbf_h=5.0,
        rack_nodes=3,
        head_mtbf_h=1.0,
        head_repair_s=60.0,
        store_slow_mtbf_h=1.0,
    )
    simulation = FleetSimulation(c, 100, seed=7)
    epochs = [1] * 100
    for _ in range(4000):
        simulation.step()
        owned = [name for node in simulation.nodes for name in node.streams]
        assert len(owned) == len(set(owned))
        assert sorted(owned) == [s.name for s in simulation.streams if s.node is not None]
        assert all(s.node is None or s.name in s.node.streams for s in simulation.streams)
        now = [stream.epoch for stream in simulation.streams]
        assert all(before <= after for before, after in zip(epochs, now, strict=True))
        epochs = now
        for node in simulation.nodes:
            assert node.up or all(s.down_since_s is not None for s in node.streams.values())
            used = sum(stream.core_ms_per_s for stream in node.streams.values())
            assert used == pytest.approx(node.used_core_ms_per_s, abs=1e-6)
            assert used <= node.core_ms_per_s + 1e-6
        assert simulation.down.now == sum(s.down_since_s is not None for s in simulation.streams)
    assert min(epochs) > 1


def outages_of_one_death(constants: Constants, cameras: int) -> list[float]:
    """Seconds to go on of the streams of node 0, which died at 1000 s for good."""
    simulation = FleetSimulation(constants, cameras, seed=11)
    simulation.now_s = 1000.0
    simulation.stop_node(simulation.nodes[0], 1e9)
    return sorted(simulation.run(1.0).seconds_to_go_on.elements())


def test_streams_go_on_after_timeout_placing_restores_and_the_key_frame() -> None:
    c = replace(
        QUIET,
        heartbeat_every_s=1e-9,
        heartbeat_timeout_s=5.0,
        heartbeat_stream_bytes=1e-9,
        key_frame_s=1e-9,
        connect_s=0.5,
        request_ms=1e-9,
        four_objects_share=0.0,
        snapshot_bytes_1=1e8,
        store_bytes_per_s=2e8,
        store_objects_per_s=1e6,
        store_request_s=0.25,
        store_restores_share=0.5,
        node_link_bytes_per_s=1e9,
        restore_ms_1=50.0,
        lookups_per_s=1e-9,
    )
    found = outages_of_one_death(c, 20)
    # 20 x 1e7 bytes/s of snapshots fill the store; restores get half, so a second each, in turn.
    begun_s = 5.0 + 0.25 + 0.1 + 0.05 + 0.5
    assert found == pytest.approx([begun_s + turn for turn in range(1, len(found) + 1)], rel=0.005)
    assert len(found) == 7  # of 20 on three nodes alike


def test_nobody_notices_a_death_while_the_head_is_down() -> None:
    c = replace(
        STEADY, heartbeat_timeout_s=5.0, heartbeat_every_s=1e-9, key_frame_s=1e-9, connect_s=1.0
    )
    simulation = FleetSimulation(c, 20, seed=1)
    simulation.now_s = 1000.0
    simulation.stop_head(600.0)
    streams = len(simulation.nodes[0].streams)
    simulation.stop_node(simulation.nodes[0], 1e9)
    found = simulation.run(1.0).seconds_to_go_on
    assert found == {600.0 + 5 + 1: streams}


def test_a_node_that_is_back_before_the_head_gets_its_streams_once() -> None:
    c = replace(
        STEADY, heartbeat_timeout_s=5.0, heartbeat_every_s=1e-9, key_frame_s=1e-9, connect_s=1.0
    )
    simulation = FleetSimulation(c, 20, seed=1)
    simulation.now_s = 1000.0
    simulation.stop_head(600.0)
    streams = list(simulation.nodes[0].streams.values())
    simulation.stop_node(simulation.nodes[0], 100.0)
    outcome = simulation.run(1.0)
    assert outcome.seconds_to_go_on == {600.0 + 1: len(streams)}
    assert [stream.epoch for stream in streams] == [2] * len(streams)


#: Deaths are missed after 5 s, and cameras opened in 20 s.
SLOW_CAMERAS = replace(
    STEADY,
    heartbeat_timeout_s=5.0,
    heartbeat_every_s=1e-9,
    key_frame_s=1e-9,
    connect_s=20.0,
    spare_share=1.0,
)


def test_a_stream_whose_new_node_dies_too_goes_on_elsewhere() -> None:
    simulation = FleetSimulation(SLOW_CAMERAS, 20, seed=1)
    first, second, *_ = simulation.nodes
    theirs = [set(first.streams), set(second.streams)]
    simulation.now_s = 1000.0
    simulation.stop_node(first, 1e9)
    for _ in range(1 + 2 * len(theirs[0])):  # the death is missed, snapshots are read and received
        simulation.step()
    assert 1005 <= simulation.now_s < 1006
    moved = len(theirs[0] & set(second.streams))
    simulation.now_s = 1010.0
    simulation.stop_node(second, 1e9)
    elsewhere = len(theirs[0]) - moved
    found = simulation.run(1.0).seconds_to_go_on
    assert moved > 0
    # Moved ones are down from 1000 to 1010 + 5 + 20 s; the second's own from 1010 on.
    assert found == {35.0: moved, 25.0: elsewhere + len(theirs[1])}


def test_a_stream_that_just_went_on_has_only_the_snapshot_of_before() -> None:
    simulation = FleetSimulation(SLOW_CAMERAS, 20, seed=1)
    first, *others = simulation.nodes
    streams = list(first.streams.values())
    simulation.now_s = 1000.0
    simulation.stop_node(first, 1e9)
    while any(stream.down_since_s is not None for stream in streams):
        simulation.step()
    for node in others:
        simulation.stop_node(node, 1e9)
    assert all(990 <= stream.snapshot_s <= 1000 for stream in streams)


def test_streams_without_room_wait_for_the_first_node_that_is_back() -> None:
    c = replace(
        STEADY,
        heartbeat_every_s=1e-9,
        key_frame_s=1e-9,
        connect_s=1.0,
        model_load_s=4.0,
        node_cores=40,
    )
    simulation = FleetSimulation(c, 20, seed=1)
    simulation.now_s = 1000.0
    for repair_s, node in zip((100.0, 2000.0), simulation.nodes, strict=True):
        simulation.stop_node(node, repair_s)
    outcome = simulation.run(1.0)
    assert outcome.waits_for_room == 20
    assert outcome.seconds_to_go_on == {100.0 + 4 + 1: 20}


def test_objects_of_an_old_snapshot_are_lost() -> None:
    old = replace(STEADY, heartbeat_timeout_s=400.0, snapshot_max_age_s=300.0)
    outcome_of = {}
    for name, c in (("old", old), ("kept", replace(old, snapshot_max_age_s=500.0))):
        simulation = FleetSimulation(c, 20, seed=1)
        simulation.now_s = 1000.0
        simulation.stop_node(simulation.nodes[0], 1e9)
        objects = sum(stream.objects for stream in simulation.nodes[0].streams.values())
        outcome_of[name] = simulation.run(1.0)
    assert outcome_of["old"].lost_too_old == objects > 0
    assert outcome_of["kept"].lost_too_old == 0


def test_prompts_since_the_snapshot_are_lost() -> None:
    """Half an interval of a Poisson process, on average."""
    c = replace(
        STEADY, node_mtbf_h=20.0, node_repair_h=0.01, snapshot_every_s=60.0, prompts_per_h=60.0
    )
    outcome = FleetSimulation(c, 40, seed=4).run(1000.0)
    outages = outcome.seconds_to_go_on.total()
    # 30 s of one a minute: 0.5, with a variance of 0.5 + (1 / 12): of 2000 a deviation of 0.017.
    assert outages > 1500
    assert outcome.lost_since_snapshot / outages == pytest.approx(0.5, abs=4 * 0.02)


def test_the_same_seed_gives_the_same() -> None:
    c = replace(Constants(), node_mtbf_h=50.0)
    runs = [FleetSimulation(c, 100, seed).run(1000.0) for seed in (8, 8, 9)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
