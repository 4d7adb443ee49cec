"""Readers of the daemon's outputs: `-m tools.bench.output_readers KIND ADDRESS NAME`.

Each runs in a process of its own. It says `ready` at the first message, and when it is asked to end
(SIGTERM) how many came.
"""

import json
import struct
import sys
from collections.abc import Callable, Iterator

from tracker.cli.interrupt import stop_on_signal

DOMAIN = 77
_WAIT_S = 0.2
_FOXGLOVE_DATA = 1  # opcode of binary messages
_FOXGLOVE_HEAD = struct.Struct("<BIQ")  # opcode, subscription, time in ns


def results(address: str, stream: str) -> Iterator[bool]:
    """True for each message of a stream, masks decoded; False where none came for a while."""
    from tracker.client import Client, Result

    with Client(data=address) as client, client.results_and_events(stream) as subscription:
        while True:
            received = subscription.receive(_WAIT_S)
            if isinstance(received, Result):
                received.masks()
            yield received is not None


def pictures(address: str, stream: str) -> Iterator[bool]:
    """The same for previews, as the stream's settings have them; the JPEG is not decoded."""
    from tracker.client import Client

    with Client(data=address) as client, client.frames(stream) as subscription:
        while True:
            yield subscription.receive(_WAIT_S) is not None


def dds(_address: str, namespace: str) -> Iterator[bool]:
    """The same for both topics of `trackd ros`, as sensor data."""
    from cyclonedds.core import Policy, Qos
    from cyclonedds.domain import Domain, DomainParticipant
    from cyclonedds.sub import DataReader
    from cyclonedds.topic import Topic
    from cyclonedds.util import duration

    from tracker.bridges.ros import messages
    from tracker.bridges.ros.names import dds_topic
    from tracker.bridges.ros.participant import LOOPBACK

    kept = Domain(DOMAIN, LOOPBACK)
    participant = DomainParticipant(DOMAIN)
    encoding = Policy.DataRepresentation(use_cdrv0_representation=True)
    qos = Qos(Policy.Reliability.BestEffort, Policy.History.KeepLast(5), encoding)
    kinds = {"detections": messages.Detection2DArray, "label_map": messages.Image}
    readers = [
        DataReader(
            participant,
            Topic(participant, dds_topic(f"{namespace}/{name}"), kind, qos=qos),
            qos=qos,
        )
        for name, kind in kinds.items()
    ]
    while kept:
        for reader in readers:
            taken = list(reader.take_iter(timeout=duration(milliseconds=5)))
            yield from [True] * len(taken) or [False]


def foxglove(url: str, _name: str) -> Iterator[bool]:
    """The same for all channels of a server of Foxglove's protocol."""
    from websockets.sync.client import connect

    with connect(url, subprotocols=["foxglove.sdk.v1"], max_size=2**24) as socket:  # type: ignore[list-item]
        while True:
            try:
                data = socket.recv(_WAIT_S)
            except TimeoutError:
                yield False
                continue
            if isinstance(data, bytes):
                yield _FOXGLOVE_HEAD.unpack_from(data)[0] == _FOXGLOVE_DATA
            elif (told := json.loads(data))["op"] == "advertise":
                asked = [{"id": one["id"], "channelId": one["id"]} for one in told["channels"]]
                socket.send(json.dumps({"op": "subscribe", "subscriptions": asked}))


READERS: dict[str, Callable[[str, str], Iterator[bool]]] = {
    "results": results,
    "pictures": pictures,
    "dds": dds,
    "foxglove": foxglove,
}


def main(kind: str, address: str, name: str) -> None:
    """Read until it is asked to end."""
    count = 0
    with stop_on_signal() as should_stop:
        for came in READERS[kind](address, name):
            if should_stop():
                break
            count += came
            if came and count == 1:
                print("ready", flush=True)
    print(count, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
