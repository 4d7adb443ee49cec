"""A fleet of two daemons: objects outlive a node and the head, and move when they are asked to."""

import json
from pathlib import Path

import pytest

from tests.support.small_pico import small_pico_of
from tools.fleet import (
    BOX,
    STREAM,
    Fleet,
    next_mask,
    wait_for_snapshot,
    wait_until,
    wait_until_fenced,
)
from tools.serving import run_trackd

pytestmark = [pytest.mark.slow, pytest.mark.system]


def test_an_object_outlives_its_node_and_the_head(tmp_path: Path) -> None:
    small = {"model": small_pico_of(tmp_path / "model")}
    with (
        Fleet(tmp_path, small) as fleet,
        fleet.client() as client,
        client.results(STREAM) as results,
    ):
        object_id = client.prompt(STREAM, box=BOX, object=41, wait_s=25).object.id
        first = next_mask(results, object_id).message
        wait_for_snapshot(fleet)
        owner = client.places()[STREAM].node
        fleet.daemons[owner].kill()
        second = next_mask(results, object_id, above=first.owner_epoch).message
        assert second.frame.epoch != first.frame.epoch, "another daemon tracks it"
        assert [one.id for one in client.objects(STREAM)] == [41]

        fleet.daemons[owner].start()  # and it opens the stream that it had
        wait_until_fenced(fleet, owner)
        fenced = f"node {owner} has stream {STREAM} no more"
        wait_until(lambda: fenced in fleet.log.read_text(), fenced)
        assert next_mask(results, object_id).message.owner_epoch == second.owner_epoch

        fleet.kill_head()
        assert next_mask(results, object_id).message.frame.epoch == second.frame.epoch
        fleet.start_head()
        wait_until(lambda: STREAM in client.places(), "the new head")
        assert client.places()[STREAM].owner_epoch == second.owner_epoch

        other = client.places()[STREAM].node
        drained = run_trackd("fleet", "drain", other, "--config", str(fleet.config))
        assert drained.returncode == 0, drained.stderr
        third = next_mask(results, object_id, above=second.owner_epoch).message
        assert third.frame.epoch not in (first.frame.epoch, second.frame.epoch)
        status = run_trackd("fleet", "status", "--json", "--config", str(fleet.config))
        states = {one["node"]: one for one in json.loads(status.stdout)["nodes"]}
        assert states[owner]["streams"] == [STREAM]
        assert states[other]["state"] in ("draining", "drained")
