"""One page: back-pressure of its pictures, bounds of what waits, and what it may ask for."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from starlette.websockets import WebSocketDisconnect

from tests.studio.test_joining import picture, result
from tracker.client.errors import DaemonError
from tracker.protocol.data import BitsMask
from tracker.protocol.fields import PreviewSize
from tracker.protocol.replies import ErrorBody, ErrorCode
from tracker.studio import picture_size
from tracker.studio.joining import Scene
from tracker.studio.page_socket import MAX_CALLS, MAX_TOLD, MESSAGES_BURST
from tracker.studio.session import IN_FLIGHT, PageSession

PATIENCE_S = 20.0


class Socket:
    """A WebSocket whose page is the test; writing can be held up."""

    def __init__(self) -> None:
        self.came: asyncio.Queue[str | None] = asyncio.Queue()
        self.texts: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.scenes: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.closed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.reads = asyncio.Event()
        self.reads.set()

    async def accept(self) -> None:
        pass

    async def receive_text(self) -> str:
        text = await self.came.get()
        if text is None:
            raise WebSocketDisconnect
        return text

    async def send_text(self, text: str) -> None:
        await self.reads.wait()
        self.texts.put_nowait(json.loads(text))

    async def send_bytes(self, data: bytes) -> None:
        length = int.from_bytes(data[:4], "big")
        self.scenes.put_nowait(json.loads(data[4 : 4 + length]))

    async def close(self, code: int, reason: str) -> None:
        self.closed.set_result(code)

    def say(self, **message: object) -> None:
        self.came.put_nowait(json.dumps(message))


class Hub:
    def __init__(self) -> None:
        self.watched: dict[str, PreviewSize] = {}

    def join(self, viewer: object) -> None:
        pass

    def leave(self, viewer: object) -> None:
        self.watched = {"left": PreviewSize.TILE}

    def watch(self, viewer: object, sizes: dict[str, PreviewSize]) -> None:
        self.watched = sizes


class Client:
    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.answers = asyncio.Event()
        self.answers.set()

    async def call(self, op: str, **fields: Any) -> dict[str, Any]:
        self.asked.append({"op": op, **fields})
        await self.answers.wait()
        if fields.get("object") == 9:
            error = ErrorBody(code=ErrorCode.UNKNOWN_OBJECT, message="no object 9", hint="look")
            raise DaemonError(error)
        return {"object": 1}

    def close(self) -> None:
        pass


def scene(
    seq: int, stream: str = "cam1", size: PreviewSize = PreviewSize.MEDIUM, number: int = 0
) -> Scene:
    of, masks = picture(seq, size=size), result(seq)
    named = replace(masks, message=masks.message.model_copy(update={"stream": stream}))
    return Scene(of, named, number or seq)


def with_page(test: Callable[[PageSession, Socket, Hub, Client], Awaitable[None]]) -> None:
    async def run() -> None:
        socket, hub, client = Socket(), Hub(), Client()
        session = PageSession(socket, hub, lambda: client)  # type: ignore[arg-type, return-value]
        serving = asyncio.create_task(session.serve())
        await asyncio.sleep(0)
        await asyncio.wait_for(test(session, socket, hub, client), PATIENCE_S)
        socket.came.put_nowait(None)
        await asyncio.wait_for(serving, PATIENCE_S)
        assert hub.watched == {"left": PreviewSize.TILE}

    asyncio.run(run())


async def watch(socket: Socket, hub: Hub, stage: str | None, *tiles: str) -> None:
    socket.say(type="watch", stage=stage, stage_px=1000, tiles=tiles)
    while hub.watched.keys() != {*tiles, *([stage] if stage else [])}:
        await asyncio.sleep(0.001)


def test_a_page_that_shows_nothing_gets_two_scenes_then_the_newest() -> None:
    async def test(session: PageSession, socket: Socket, hub: Hub, _: Client) -> None:
        await watch(socket, hub, "cam1")
        got = []
        for seq in range(10):
            session.show(scene(seq))
            if seq < IN_FLIGHT:
                got.append(await socket.scenes.get())
        assert [one["frame"]["seq"] for one in got] == [0, 1]
        await asyncio.sleep(0.05)
        assert socket.scenes.empty()
        socket.say(type="shown", n=got[0]["n"])
        assert (await socket.scenes.get())["frame"]["seq"] == 9

    with_page(test)


def test_the_large_picture_comes_before_tiles() -> None:
    async def test(session: PageSession, socket: Socket, hub: Hub, _: Client) -> None:
        await watch(socket, hub, "cam1", "cam2")
        assert hub.watched == {"cam1": "medium", "cam2": "tile"}
        session.show(scene(1, "cam2", PreviewSize.TILE))
        session.show(scene(5))
        got = [await socket.scenes.get() for _ in range(2)]
        assert [(one["stream"], one["size"]) for one in got] == [
            ("cam1", "medium"),
            ("cam2", "tile"),
        ]
        assert ["mask" in one["objects"][0] for one in got] == [True, False]

    with_page(test)


def test_a_page_that_is_late_gets_smaller_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_size, "LATE_S", -1.0)

    async def test(session: PageSession, socket: Socket, hub: Hub, _: Client) -> None:
        await watch(socket, hub, "cam1", "cam2")
        for seq in range(1, picture_size.LATE_IN_A_ROW + 1):
            session.show(scene(2 * seq, "cam2", PreviewSize.TILE))
            session.show(scene(2 * seq + 1))
            for _ in range(2):
                socket.say(type="shown", n=(await socket.scenes.get())["n"])
        while hub.watched["cam1"] != "small":
            await asyncio.sleep(0.001)
        assert hub.watched["cam2"] == "tile"

    with_page(test)


def test_masks_that_are_damaged_are_left_out() -> None:
    async def test(session: PageSession, socket: Socket, hub: Hub, _: Client) -> None:
        await watch(socket, hub, "cam1")
        whole = scene(1)
        (obj,) = whole.result.message.objects
        damaged = obj.model_copy(update={"mask": BitsMask(part=9, size=(3, 3))})
        message = whole.result.message.model_copy(update={"objects": [damaged]})
        session.show(replace(whole, result=replace(whole.result, message=message)))
        await asyncio.sleep(0.05)
        session.show(scene(5))
        assert (await socket.scenes.get())["frame"]["seq"] == 5

    with_page(test)


def test_a_page_that_sends_too_much_is_closed() -> None:
    async def test(session: PageSession, socket: Socket, hub: Hub, _: Client) -> None:
        for number in range(MESSAGES_BURST + 100):
            socket.say(type="shown", n=number)
        assert await socket.closed == 1008

    with_page(test)


def test_a_page_that_reads_nothing_is_closed() -> None:
    async def test(session: PageSession, socket: Socket, hub: Hub, _: Client) -> None:
        socket.reads.clear()
        for number in range(MAX_TOLD + 3):
            session.tell({"type": "event", "number": number})
            await asyncio.sleep(0)
        socket.reads.set()
        assert await socket.closed == 1013

    with_page(test)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"type":"watch"}', '{"type":"shown","n":-1}', '{"type":"eval","x":1}']
)
def test_what_is_no_message_ends_the_page(text: str) -> None:
    async def test(session: PageSession, socket: Socket, hub: Hub, _: Client) -> None:
        socket.came.put_nowait(text)
        assert await socket.closed == 1008

    with_page(test)


@pytest.mark.parametrize("op", ["shutdown", "snapshot.restore", "describe", "", "x" * 1000])
def test_the_page_may_not_ask_for_everything(op: str) -> None:
    async def test(session: PageSession, socket: Socket, hub: Hub, client: Client) -> None:
        socket.say(type="call", id=1, request={"op": op})
        assert "may not" in (await socket.texts.get())["error"]
        assert client.asked == []

    with_page(test)


def test_results_and_refusals_reach_the_page() -> None:
    async def test(session: PageSession, socket: Socket, hub: Hub, client: Client) -> None:
        socket.say(
            type="call", id=1, request={"op": "prompt", "stream": "cam1", "box": [1, 2, 3, 4]}
        )
        assert await socket.texts.get() == {"type": "reply", "id": 1, "result": {"object": 1}}
        socket.say(type="call", id=2, request={"op": "object.remove", "stream": "a", "object": 9})
        refused = await socket.texts.get()
        assert (refused["id"], refused["code"], refused["hint"]) == (2, "unknown_object", "look")

    with_page(test)


def test_commands_at_once_are_bounded() -> None:
    async def test(session: PageSession, socket: Socket, hub: Hub, client: Client) -> None:
        client.answers.clear()
        for number in range(MAX_CALLS + 1):
            socket.say(type="call", id=number, request={"op": "object.reset", "object": 1})
        assert "too many" in (await socket.texts.get())["error"]
        assert len(client.asked) == MAX_CALLS
        client.answers.set()

    with_page(test)


def test_masks_of_every_encoding_come_as_run_lengths() -> None:
    from tests.support.tracked_frames import disc, found, tracked
    from tracker.client.received import Result
    from tracker.daemon.publish.encode import encode_objects, masks_message, to_json
    from tracker.rle import encode_rle
    from tracker.studio.scene_message import scene_message

    one = tracked(3, (found(1, disc(20, 20)),))
    right = encode_rle(disc(20, 20)).counts
    for encoding in ("rle", "bits", "labelmap-png"):
        encoded = encode_objects(one.result.objects, encoding, 48, 64)
        message = masks_message(one, encoded, seq=3, encoded_s=one.tracked_s)
        parts = (b"masks.cam1", to_json(message), *encoded.blobs)
        data = scene_message(picture(3), Result(message, parts), 1)
        head = json.loads(data[4 : 4 + int.from_bytes(data[:4], "big")])
        assert head["objects"][0]["mask"] == right
    assert np.count_nonzero(disc(20, 20)) > 0
