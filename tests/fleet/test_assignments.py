"""Who owns a stream: what a head does about nodes that die, come back, fill up and are drained."""

from collections.abc import Mapping

from tracker.fleet.assignments import Assignments, Fence, Owner, Place
from tracker.fleet.config import FleetConfig
from tracker.fleet.placement import NodeView, SeenStream, StaticPlacement

NOW_MS = 1000


def assignments(*streams: str, wanted: Mapping[str, str] = {}) -> Assignments:
    tree = {
        "nodes": [{"name": one, "control": f"tcp://{one}:1", "data": "tcp://d:1"} for one in "abc"],
        "streams": {one: {"url": "x", "node": wanted.get(one)} for one in streams},
    }
    placement = StaticPlacement(FleetConfig.model_validate(tree))
    return Assignments(streams, placement, lambda: NOW_MS)


def node(name: str, streams: Mapping[str, int] | None = None, **more: bool) -> NodeView:
    seen = {stream: SeenStream(epoch) for stream, epoch in (streams or {}).items()}
    return NodeView(name, streams=seen, **more)  # type: ignore[arg-type]


def dead(name: str, streams: Mapping[str, int] | None = None) -> NodeView:
    return node(name, streams, alive=False)


def test_new_streams_are_spread_and_go_where_the_configuration_says() -> None:
    table = assignments("x", "y", "z", wanted={"z": "a"})
    assert table.plan([node("a"), node("b")], ()) == [
        Place("x", "a", NOW_MS),
        Place("y", "b", NOW_MS),
        Place("z", "a", NOW_MS),
    ]


def test_a_stream_goes_to_the_node_whose_streams_take_least() -> None:
    table = assignments("x", "y", "z")
    busy = NodeView("a", streams={"x": SeenStream(1, frame_ms=80.0)})
    idle = NodeView("b", streams={"y": SeenStream(1, frame_ms=20.0)})
    assert table.plan([busy, idle], ()) == [Place("z", "b", NOW_MS)]


def test_nothing_is_placed_before_every_node_had_its_time_to_answer() -> None:
    table = assignments("x")
    late = node("b", alive=False, settled=False)
    assert table.plan([node("a"), late], ()) == []
    assert table.plan([node("a"), node("b", {"x": 7})], ()) == [], "b has it: nothing is to be done"
    assert table.owners == {"x": Owner("b", 7)}


def test_streams_of_a_dead_node_go_elsewhere_with_a_higher_epoch() -> None:
    table = assignments("x", "y")
    table.plan([node("a", {"x": 2000}), node("b", {"y": 5})], ())
    place = Place("x", "b", 2001)
    assert table.plan([dead("a", {"x": 2000}), node("b", {"y": 5})], ()) == [place]
    assert table.plan([dead("a", {"x": 2000}), node("b", {"y": 5})], {"x"}) == [], "it is begun"
    table.own("x", "b", 2001)
    assert table.plan([dead("a", {"x": 2000}), node("b", {"x": 2001, "y": 5})], ()) == []


def test_a_node_that_comes_back_loses_its_streams_before_it_gets_any() -> None:
    table = assignments("x", "y")
    table.own("x", "b", 2001)
    nodes = [node("a", {"x": 2000}), node("b", {"x": 2001})]
    fence, place = table.plan(nodes, ())
    assert fence == Fence("x", "a", 2001)
    assert place == Place("y", "b", NOW_MS), "a is not clean yet"


def test_a_new_head_takes_the_highest_epoch_for_the_owner() -> None:
    for nodes in (
        [node("a", {"x": 5}), node("b", {"x": 9})],
        [node("b", {"x": 9}), node("a", {"x": 5})],
    ):
        table = assignments("x")
        assert table.plan(nodes, ()) == [Fence("x", "a", 9)]
        assert table.owners == {"x": Owner("b", 9)}


def test_a_placement_that_broke_off_is_not_taken_for_an_owner() -> None:
    table = assignments("x")
    table.give_up("x", 3000)
    assert table.plan([node("a", {"x": 3000}), node("b")], ()) == [
        Fence("x", "a", 3001),
        Place("x", "b", 3001),
    ]
    table.own("x", "b", 3001)
    table.give_up("x", 3005)
    third = node("c", {"x": 3003})
    nodes = [node("a"), node("b", {"x": 3001}), third]
    assert table.plan(nodes, ()) == [Fence("x", "c", 3004)], "left of an attempt before"
    half = NodeView("a", streams={"x": SeenStream(9, ready=False)})
    fresh = assignments("x")
    assert fresh.plan([half, node("b")], ()) == [Fence("x", "a", 10), Place("x", "b", NOW_MS)]


def test_a_stream_that_its_owner_has_no_more_is_placed_again() -> None:
    table = assignments("x")
    table.own("x", "a", 2000)
    assert table.plan([node("a"), node("b")], ()) == [Place("x", "a", 2001)]
    restarted = [node("a", {"x": 1500}), node("b")]
    assert table.plan(restarted, ()) == [Fence("x", "a", 2000)], "a restart had older state"


def test_streams_of_a_node_that_is_drained_are_handed_over() -> None:
    table = assignments("x")
    draining = node("a", {"x": 5}, draining=True)
    assert table.plan([draining, node("b")], ()) == [Place("x", "b", NOW_MS, source="a")]
    assert table.plan([draining, dead("b")], ()) == [], "nobody else is there"


def test_streams_that_are_not_of_the_fleet_are_left_alone() -> None:
    table = assignments()
    assert table.plan([node("a"), node("b")], ()) == []
