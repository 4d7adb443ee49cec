"""What both clients ask follows from the table of operations."""

import asyncio
from typing import Any, get_args, get_type_hints

import pytest

from tests.support.fake_daemon import CUP, daemon
from tracker.client import AsyncClient, BadMessage, Client, DaemonError, calls
from tracker.client.calls import Call, CallMethods, Method
from tracker.daemon.control import operations
from tracker.errors import UsageError
from tracker.protocol.data import MasksMessage, ObjectMessage
from tracker.protocol.fields import BudgetInfo, Message
from tracker.protocol.replies import ErrorCode, ObjectInfo, PromptResult, Reply
from tracker.protocol.requests import OPERATIONS, REQUEST

GIVEN: dict[str, Any] = {
    "stream": "cam1",
    "url": "lavfi:testsrc2",
    "object_id": 1,
    "label": None,
    "op": "ping",
    "worker": "0",
    "zone": "gate",
    "on": True,
    "digest": "0" * 64,
    "size": 3,
    "offset": 0,
    "data": "AAAA",
}
WITHOUT_NAME = {"call"}


def made(name: str) -> tuple[Call[Any], Any]:
    """The call of a method, and the type that its function says it gives."""
    function = vars(CallMethods)[name]._function
    hints = get_type_hints(function)
    (gives,) = get_args(hints.pop("return"))
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    return function(**{given: GIVEN[given] for given in names}), gives


METHODS = [name for name, value in vars(CallMethods).items() if isinstance(value, Method)]


@pytest.mark.slow
def test_each_operation_has_one_handler_and_one_method() -> None:
    assert set(operations._HANDLERS) == set(OPERATIONS)
    asked = [made(name)[0].operation.op for name in METHODS if name not in WITHOUT_NAME]
    assert sorted(asked) == sorted(OPERATIONS)
    schema = REQUEST.json_schema()
    assert set(schema["discriminator"]["mapping"]) == set(OPERATIONS)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in WITHOUT_NAME])
def test_a_method_gives_what_the_table_says(name: str) -> None:
    call, gives = made(name)
    kind = call.operation.result
    if isinstance(kind, type) and issubclass(kind, Message) and gives is not kind:
        (item,) = get_args(gives)  # the list in it
        assert [list[item]] == [one.annotation for one in kind.model_fields.values()][-1:]
    else:
        assert gives in (kind, type(None) if kind is None else dict[str, Any])


def test_an_operation_can_be_asked_by_its_name_with_both_clients() -> None:
    async def ask(control: str) -> ObjectInfo:
        async with AsyncClient(control) as client:
            found = await client.call("object.relabel", stream="cam1", object=1, label="cup")
            assert isinstance(found, ObjectInfo)
            return found

    with daemon() as fake, Client(fake.control) as client:
        assert client.call("ping").ready
        assert client.call("object.list", stream="cam1").objects == [CUP]
        assert asyncio.run(ask(fake.control)) == CUP
        with pytest.raises(UsageError, match=r"no operation stream.dance; there are ping"):
            client.call("stream.dance")
        with pytest.raises(UsageError, match="stream"):
            client.call("object.list")


def test_a_refusal_and_a_foreign_result_are_errors() -> None:
    ping = Call[Any]("ping")
    with pytest.raises(BadMessage, match="reply to ping is not of protocol v1: ready"):
        ping.decode(Reply(id="a", ok=True, result={"version": "1", "uptime_s": 1}))
    refused = {"code": ErrorCode.BUSY, "message": "busy"}
    with pytest.raises(DaemonError, match="busy"):
        ping.decode(Reply.model_validate({"id": "a", "ok": False, "error": refused}))


def test_methods_say_what_they_do() -> None:
    for name in METHODS:
        assert vars(CallMethods)[name].__doc__ == getattr(calls, f"_{name}").__doc__
        assert getattr(calls, f"_{name}").__doc__


# --- names of version 0.1


def test_what_a_daemon_of_version_0_1_sends_is_understood() -> None:
    item = {"id": 1, "label": None, "state": "visible", "score": 0.5, "box": None}
    assert not ObjectInfo.model_validate({**item, "fresh": False}).updated
    assert not ObjectMessage.model_validate({**item, "mask": None, "fresh": False}).updated
    numbers = {"created": True, "frame_seq": 3, "newest_seq": 5}
    read = PromptResult.model_validate(
        {**numbers, "object": {**item, "fresh": True}, "caught_up": 2}
    )
    assert (read.replayed_frames, read.object.updated) == (2, True)
    effort = {"rung": 3, "input_size": 192, "memories": 1, "objects_per_frame": None}
    budget = BudgetInfo.model_validate(effort)
    assert budget.quality_level == 3
    frame = {"seq": 1, "pts": None, "time_base": None, "captured_ns": 1, "sender_ns": None}
    message = {
        "stream": "cam1",
        "seq": 1,
        "dropped": 0,
        "frame": {**frame, "width": 8, "height": 8},
        "timings": dict.fromkeys(
            ("decode_ms", "queue_ms", "encode_ms", "track_ms", "wire_ms", "total_ms"), 1.0
        ),
        "encoding": "rle",
        "objects": [],
        "effort": effort,
    }
    assert MasksMessage.model_validate(message).budget == budget


def test_what_is_sent_has_the_new_names_only() -> None:
    budget = BudgetInfo(quality_level=3, input_size=192, memories=1, objects_per_frame=None)
    assert "quality_level" in budget.model_dump() and "rung" not in budget.model_dump_json()
    assert '"updated":true' in CUP.model_dump_json()
