"""The clients: what they send, with which keys, and that both do the same."""

import asyncio
import inspect
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import control_clients
from tests.support.fake_daemon import CUP, FakeDaemon, free_endpoint, unknown_stream
from tests.support.tracked_frames import disc, event, tracked, wait_until
from tracker.client import AsyncClient, Client, DaemonError, DaemonUnreachable
from tracker.daemon.access.curve import CurveAuthenticator, write_keys
from tracker.daemon.config.schema import SecurityConfig
from tracker.errors import UsageError
from tracker.protocol.fields import FrameAddress
from tracker.protocol.replies import ErrorCode
from tracker.rle import Rle, decode_rle

PATIENCE_S = 20.0


# --- requests


def test_a_prompt_arrives_as_it_was_given(client: Client, fake: FakeDaemon) -> None:
    result = client.prompt(
        "cam1",
        points=[(0.5, 0.25), (0.1, 0.1)],
        labels=[1, 0],
        box=(0.1, 0.2, 0.9, 1.0),
        label="cup",
        frame=7,
        normalized=True,
    )

    assert (result.object, result.created, result.frame_seq, result.replayed_frames) == (
        CUP,
        True,
        7,
        2,
    )
    (sent,) = fake.requests
    assert sent.op == "prompt"
    assert (sent.stream, sent.object, sent.label) == ("cam1", None, "cup")
    assert sent.points == ((0.5, 0.25), (0.1, 0.1))
    assert sent.labels == (1, 0)
    assert sent.box == (0.1, 0.2, 0.9, 1.0)
    assert sent.frame == FrameAddress(seq=7)
    assert sent.normalized


def test_what_was_received_names_its_frame_of_this_run_of_the_daemon(
    client: Client, fake: FakeDaemon
) -> None:
    with client.results("cam1", timeout_s=PATIENCE_S) as results:
        frame = tracked(812)
        fake.publisher.tracked(replace(frame, live=replace(frame.live, epoch="0a1b")))
        result = next(results)
    wait_until(lambda: not fake.publisher.status().subscriptions)
    with client.frames("cam1", timeout_s=PATIENCE_S) as frames:
        wait_until(lambda: fake.publisher.status().subscriptions)
        fake.publisher.tracked(tracked(813))
        picture = next(frames)
    client.prompt("cam1", points=[(3, 4)], frame=result)
    client.prompt("cam1", points=[(3, 4)], frame=result.message.frame)
    client.correct("cam1", 1, points=[(3, 4)], frame=picture)
    named, stamped, pictured = (request.frame for request in fake.requests)
    assert named == stamped == FrameAddress(seq=812, epoch="0a1b")
    assert pictured == FrameAddress(seq=813), "it was sent without an epoch"


def test_a_mask_and_a_time_address_a_correction(client: Client, fake: FakeDaemon) -> None:
    mask_hw = disc(30, 20)
    client.correct("cam1", 3, mask=mask_hw, frame=FrameAddress(captured_ns=10**18))
    (sent,) = fake.requests
    assert (sent.op, sent.object, sent.frame) == (
        "object.correct",
        3,
        FrameAddress(captured_ns=10**18),
    )
    assert np.array_equal(decode_rle(Rle(*sent.mask.size, sent.mask.counts)), mask_hw)


def test_every_request_reaches_the_daemon(client: Client, fake: FakeDaemon) -> None:
    assert client.ping().version == "0.1.0"
    assert client.describe() == {"op": "describe"}
    assert client.metrics() == {"op": "metrics"}
    client.add_stream("cam2", "rtsp://10.0.0.6/main", policy="every", encoding="bits")
    client.pause_stream("cam2")
    client.resume_stream("cam2")
    client.move_stream("cam2", "1")
    client.remove_stream("cam2")
    assert [item.stream for item in client.streams()] == ["cam1"]
    client.relabel_object("cam1", 1, None)
    client.reset_object("cam1", 1)
    client.remove_object("cam1", 1)
    assert client.objects("cam1") == [CUP]
    client.save_snapshot("cam1")
    client.restore_snapshot("cam1")
    client.shutdown()

    added = fake.requests[3]
    assert (added.stream, added.url) == ("cam2", "rtsp://10.0.0.6/main")
    assert (added.policy, added.encoding, added.loop) == ("every", "bits", False)
    assert [request.op for request in fake.requests] == [
        *("ping", "describe", "metrics"),
        *("stream.add", "stream.pause", "stream.resume", "stream.move"),
        *("stream.remove", "stream.list"),
        *("object.relabel", "object.reset", "object.remove", "object.list"),
        *("snapshot.save", "snapshot.restore", "shutdown"),
    ]
    assert len({request.id for request in fake.requests}) == len(fake.requests)


def test_a_refusal_says_what_and_how_to_mend_it(client: Client, fake: FakeDaemon) -> None:
    fake.refuse = unknown_stream("cam9")
    with pytest.raises(DaemonError) as refused:
        client.objects("cam9")
    assert refused.value.code is ErrorCode.UNKNOWN_STREAM
    assert str(refused.value) == "there is no stream cam9; there are cam1"


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ({}, "give points, a box or a mask"),
        ({"points": [(1, 2)], "labels": [1, 0]}, "1 points but 2 labels"),
        ({"points": [(float("nan"), 2)]}, "points.0.0: Input should be a finite number"),
        ({"box": (0, 0, 5, 5), "object": 0}, "object: Input should be greater"),
        ({"box": (0, 0, 5, 5), "frame": -1}, "frame.seq: Input should be greater"),
        ({"mask": np.zeros((4, 4), np.uint8)}, "mask is uint8 of shape"),
    ],
)
def test_a_wrong_prompt_is_not_sent(
    client: Client, fake: FakeDaemon, place: Any, says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        client.prompt("cam1", **place)
    assert fake.requests == []


def test_a_refused_address_is_not_shown(client: Client) -> None:
    with pytest.raises(UsageError) as refused:
        client.add_stream("cam 1", "rtsp://user:secret@10.0.0.5/" + "x" * 5000)
    assert "stream: String should match" in str(refused.value)
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_the_environment_names_the_daemon(
    fake: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKD_CONTROL", fake.control)
    monkeypatch.setenv("TRACKD_DATA", fake.data)
    with Client(timeout_s=PATIENCE_S) as client, client.events() as events:
        assert client.ping().ready
        fake.publisher.event(event())
        assert next(events).message.stream == "cam1"


@pytest.mark.parametrize("control", ["127.0.0.1:5570", "tcp://nowhere", "http://127.0.0.1:1"])
def test_what_is_no_endpoint_is_said_to_be_none(control: str) -> None:
    with pytest.raises(UsageError, match=r"cannot connect to .*give tcp://HOST:PORT"):
        Client(control)


# --- keys


@pytest.mark.slow
def test_only_the_right_keys_open_the_door(tmp_path: Path) -> None:
    server = write_keys(tmp_path / "server", "server")
    allowed = write_keys(tmp_path / "clients", "allowed")
    stranger = write_keys(tmp_path / "strangers", "stranger")
    config = SecurityConfig(server_key=server.secret, client_keys=tmp_path / "clients")
    security = CurveAuthenticator.from_config(config, ["tcp://127.0.0.1:*"])

    def answer(request: Any) -> dict[str, Any]:
        return {"version": "1", "ready": True, "uptime_s": 1.0}

    def ping(timeout_s: float, **keys: Path) -> bool:
        with Client(control.endpoint, timeout_s=timeout_s, **keys) as client:
            return client.ping().ready

    with control_clients.running(answer, security=security) as control:
        assert ping(PATIENCE_S, client_key=allowed.secret, server_key=server.public)
        with pytest.raises(DaemonUnreachable, match="are the keys the right ones"):
            ping(0.3, client_key=stranger.secret, server_key=server.public)
        with pytest.raises(DaemonUnreachable, match="are the keys the right ones"):
            ping(0.3, client_key=allowed.secret, server_key=stranger.public)
        with pytest.raises(DaemonUnreachable, match="if it asks for keys, give them"):
            ping(0.3)


def test_key_files_that_are_none_are_named(tmp_path: Path) -> None:
    mine = write_keys(tmp_path, "mine")
    junk = tmp_path / "junk.key"
    junk.write_text("hello")
    damaged = tmp_path / "damaged.key"
    damaged.write_text('curve\n    public-key = "short"\n')
    with pytest.raises(UsageError, match="give both or neither"):
        Client(client_key=mine.secret)
    with pytest.raises(UsageError, match="holds no secret key"):
        Client(client_key=mine.public, server_key=mine.public)
    with pytest.raises(UsageError, match=r"cannot read the key file .*absent"):
        Client(client_key=tmp_path / "absent", server_key=mine.public)
    for path in (junk, damaged):
        with pytest.raises(UsageError, match=path.name):
            Client(client_key=mine.secret, server_key=path)


# --- asyncio


def test_both_clients_have_the_same_methods() -> None:
    def methods(kind: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(member).parameters)
            for name, member in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_") or name == "__init__"
        }

    assert methods(AsyncClient) == methods(Client)


def test_the_asynchronous_client_prompts_and_follows(fake: FakeDaemon) -> None:
    async def scenario() -> list[int]:
        async with (
            AsyncClient(fake.control, fake.data, timeout_s=PATIENCE_S) as client,
            client.results("cam1", timeout_s=PATIENCE_S) as results,
        ):
            answers = await asyncio.gather(
                client.ping(), client.prompt("cam1", points=[(3, 4)]), client.streams()
            )
            assert answers[0].ready
            assert answers[1].object == CUP
            fake.publisher.tracked(tracked(0))
            seqs = []
            async for result in results:
                seqs.append(result.message.frame.seq)
                if len(seqs) == 3:
                    break
                fake.publisher.tracked(tracked(len(seqs)))
            assert (results.lost, client.lost) == (0, 0)
            return seqs

    assert asyncio.run(scenario()) == [0, 1, 2]
    assert sorted(request.op for request in fake.requests) == ["ping", "prompt", "stream.list"]


def test_the_asynchronous_client_says_what_is_wrong(fake: FakeDaemon) -> None:
    fake.refuse = unknown_stream("cam9")

    async def scenario() -> None:
        async with AsyncClient(fake.control, fake.data, timeout_s=PATIENCE_S) as client:
            with pytest.raises(DaemonError, match="there is no stream cam9"):
                await client.remove_stream("cam9")
            with pytest.raises(DaemonUnreachable, match="no message"):
                await anext(client.results("cam1", timeout_s=0.05))
        async with AsyncClient(free_endpoint(), timeout_s=0.2) as client:
            with pytest.raises(DaemonUnreachable, match="is `trackd serve` running"):
                await client.ping()

    asyncio.run(scenario())


@pytest.mark.slow
def test_the_client_needs_no_torch_and_no_daemon() -> None:
    script = (
        "import sys, tracker.client\n"
        "heavy = {'torch', 'sam2', 'supervision', 'av', 'tracker.daemon'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
