"""The JSON Schema of every message, in one document."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import TypeAdapter

from tracker.protocol.data import EventMessage, FrameMessage, MasksMessage
from tracker.protocol.fields import VERSION, Message
from tracker.protocol.replies import Reply
from tracker.protocol.requests import OPERATIONS, REQUEST

_Mode = Literal["validation", "serialization"]
# By operation; the results of the others are empty, or may grow.
_RESULTS: Mapping[str, type[Message]] = {
    row.op: row.result
    for row in OPERATIONS.values()
    if row.result is not None and issubclass(row.result, Message)
}
_DATA: Mapping[str, type[Message]] = {
    "masks": MasksMessage,
    "events": EventMessage,
    "frames": FrameMessage,
}


def protocol_schema() -> dict[str, Any]:
    """Return the schemas of requests, replies, results by operation, and data messages by topic.

    All refer to the definitions that they share, under `$defs`.
    """
    sent: dict[str, type[Message]] = {"reply": Reply, **_RESULTS, **_DATA}
    inputs: list[tuple[str, _Mode, TypeAdapter[Any]]] = [("request", "validation", REQUEST)]
    inputs += [(name, "serialization", TypeAdapter(model)) for name, model in sent.items()]
    schemas, shared = TypeAdapter.json_schemas(inputs)
    by_name = {name: schema for (name, _), schema in schemas.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"trackd protocol v{VERSION}",
        "control": {
            "request": by_name["request"],
            "reply": by_name["reply"],
            "results": {op: by_name[op] for op in _RESULTS},
        },
        "data": {topic: by_name[topic] for topic in _DATA},
        **shared,
    }
