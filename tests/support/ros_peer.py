"""A DDS participant in a process of its own, which knows messages by rosbags' definitions alone.

    ros_peer.py DOMAIN receive COUNT TOPIC TYPE [TOPIC TYPE ...]
    ros_peer.py DOMAIN send TOPIC TYPE HEX [HEX ...]

The first prints as many messages of each topic, the topic and the CDR bytes in hex. The second
publishes the bytes, when someone subscribes.

The IDL types that it announces are made of the definitions, so that CycloneDDS compares them with
those of the other side.
"""

import sys
import time
from typing import Any

from cyclonedds.core import Policy, Qos
from cyclonedds.domain import Domain, DomainParticipant
from cyclonedds.idl import IdlStruct, make_idl_struct, types
from cyclonedds.pub import DataWriter
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic
from cyclonedds.util import duration
from rosbags.interfaces import Nodetype

from tests.support.ros_types import ros_types

PATIENCE_S = 60.0
LOOPBACK = (
    '<CycloneDDS><Domain><General><Interfaces><NetworkInterface name="lo"/></Interfaces>'
    "<AllowMulticast>false</AllowMulticast></General><Discovery>"
    "<ParticipantIndex>auto</ParticipantIndex><MaxAutoParticipantIndex>32</MaxAutoParticipantIndex>"
    '<Peers><Peer Address="localhost"/></Peers></Discovery></Domain></CycloneDDS>'
)
STORE = ros_types()
BASES = {"string": str, "bool": bool}


class Raw:
    """A message as it came."""

    def __init__(self, data: bytes) -> None:
        self.data = data


def idl_type(name: str, bases: tuple[type, ...] = ()) -> Any:
    """The IDL type of a message, such as sensor_msgs/msg/Image."""
    package, _, short = name.split("/")
    _, fields = STORE.fielddefs[name]
    typename = f"{package}.msg.dds_.{short}_"
    return make_idl_struct(short, typename, {n: field_type(d) for n, d in fields}, bases=bases)


def field_type(description: Any) -> Any:
    kind, of = description
    match kind:
        case Nodetype.BASE:
            return BASES.get(of[0]) or getattr(types, of[0])
        case Nodetype.NAME:
            return idl_type(of)
        case Nodetype.ARRAY:
            return types.array[field_type(of[0]), of[1]]
    return types.sequence[field_type(of[0])]


def raw_type(name: str) -> Any:
    """As `idl_type`; its values are bytes."""
    made = idl_type(name)
    made.deserialize = classmethod(lambda cls, data, **options: Raw(data))
    made.serialize = lambda self, **options: self.cdr
    return made


def receive(participant: DomainParticipant, count: int, topics: dict[str, str]) -> None:
    readers = {
        topic: DataReader(
            participant, Topic(participant, topic, raw_type(name), qos=qos()), qos=qos()
        )
        for topic, name in topics.items()
    }
    left = dict.fromkeys(topics, count)
    print("subscribed", flush=True)
    deadline_s = time.monotonic() + PATIENCE_S
    while any(left.values()):
        assert time.monotonic() < deadline_s, f"these did not come: {left}"
        for topic, reader in readers.items():
            for message in reader.take(left[topic] or 1):
                print(topic, message.data.hex(), flush=True)
                left[topic] = max(0, left[topic] - 1)
        time.sleep(0.01)


def send(participant: DomainParticipant, topic: str, name: str, data: list[str]) -> None:
    made: type[IdlStruct] = raw_type(name)
    reliable = qos(Policy.Reliability.Reliable(duration(seconds=1)))
    writer = DataWriter(participant, Topic(participant, topic, made, qos=reliable), qos=reliable)
    deadline_s = time.monotonic() + PATIENCE_S
    while not writer.get_publication_matched_status().current_count:
        assert time.monotonic() < deadline_s, "nobody subscribes"
        time.sleep(0.02)
    for text in data:
        sample = made.__new__(made)
        sample.cdr = bytes.fromhex(text)
        writer.write(sample)
    writer.wait_for_acks(duration(seconds=PATIENCE_S))


def qos(reliability: Any = Policy.Reliability.BestEffort) -> Qos:
    encoding = Policy.DataRepresentation(use_cdrv0_representation=True)
    return Qos(reliability, Policy.Durability.Volatile, Policy.History.KeepLast(5), encoding)


def main() -> None:
    domain, action, *rest = sys.argv[1:]
    kept = Domain(int(domain), LOOPBACK)
    participant = DomainParticipant(int(domain))
    if action == "receive":
        receive(participant, int(rest[0]), dict(zip(rest[1::2], rest[2::2], strict=True)))
    else:
        send(participant, rest[0], rest[1], rest[2:])
    del kept


if __name__ == "__main__":
    main()
