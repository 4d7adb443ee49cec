"""DDS participant by CycloneDDS: no installation of ROS is needed."""

from typing import Any, Literal

from cyclonedds.core import (
    DDSException,
    InstanceState,
    Policy,
    Qos,
    ReadCondition,
    SampleState,
    ViewState,
    WaitSet,
)
from cyclonedds.domain import Domain, DomainParticipant
from cyclonedds.pub import DataWriter
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic
from cyclonedds.util import duration

from tracker.bridges.ros.names import dds_topic
from tracker.errors import TrackdError

Network = Literal["loopback", "all"]
Reliability = Literal["sensor-data", "reliable"]

DEPTH = 5
"""Messages kept for a slow subscriber; the oldest goes first, as in ROS 2's sensor data."""

MAX_WAITING = 16
"""Messages that wait to be read; beyond, reliable publishers are held up."""

LOOPBACK = """
<CycloneDDS><Domain Id="any">
  <General>
    <Interfaces><NetworkInterface name="lo"/></Interfaces>
    <AllowMulticast>false</AllowMulticast>
  </General>
  <Discovery>
    <ParticipantIndex>auto</ParticipantIndex>
    <MaxAutoParticipantIndex>32</MaxAutoParticipantIndex>
    <Peers><Peer Address="localhost"/></Peers>
  </Discovery>
</Domain></CycloneDDS>
"""
"""Without multicast, which loopback lacks; as ROS 2's discovery range LOCALHOST."""

_RELIABLE = Policy.Reliability.Reliable(duration(seconds=0.1))  # that a writer may wait


class Participant:
    """Participant of a domain, and what it writes and reads.

    Args:
        domain: Number of the domain, as in ROS_DOMAIN_ID.
        network: "loopback" for this machine alone; "all" as CycloneDDS is configured.

    Raises:
        TrackdError: The domain cannot be joined.
    """

    def __init__(self, domain: int, network: Network) -> None:
        try:
            self._domain = Domain(domain, LOOPBACK) if network == "loopback" else None
            self._participant = DomainParticipant(domain)
            self._waiting = WaitSet(self._participant)
        except DDSException as error:
            raise TrackdError(
                f"cannot join DDS domain {domain}: {error.msg}",
                "look at CYCLONEDDS_URI, or choose another --domain",
            ) from error

    def writer(self, name: str, kind: type[Any], reliability: Reliability) -> "Writer":
        """Publisher of a ROS 2 topic."""
        kept = Policy.History.KeepLast(DEPTH)
        qos = _qos(_RELIABLE if reliability == "reliable" else Policy.Reliability.BestEffort, kept)
        return Writer(name, DataWriter(self._participant, self._topic(name, kind), qos=qos))

    def reader(self, name: str, kind: type[Any]) -> DataReader[Any]:
        """Subscriber of a ROS 2 topic, for `wait`."""
        limits = Policy.ResourceLimits(max_samples=MAX_WAITING)
        qos = _qos(_RELIABLE, Policy.History.KeepAll, limits)
        reader = DataReader(self._participant, self._topic(name, kind), qos=qos)
        anything = SampleState.Any | ViewState.Any | InstanceState.Any
        self._waiting.attach(ReadCondition(reader, anything))
        return reader

    def _topic(self, name: str, kind: type[Any]) -> Topic[Any]:
        return Topic(self._participant, dds_topic(name), kind, qos=_qos())

    def wait(self, timeout_s: float) -> None:
        """Wait until a reader has a message, at most so long."""
        self._waiting.wait(duration(seconds=timeout_s))


class Writer:
    """Publisher of a topic.

    Attributes:
        name: Of the topic, as ROS 2 has it.
    """

    def __init__(self, name: str, writer: DataWriter[Any]) -> None:
        self.name = name
        self._writer = writer

    @property
    def has_readers(self) -> bool:
        """True if someone subscribes."""
        return bool(self._writer.get_publication_matched_status().current_count)

    @property
    def refused(self) -> int:
        """Subscribers so far that ask for a QoS which is not offered, such as reliability."""
        return int(self._writer.get_offered_incompatible_qos_status().total_count)

    def write(self, message: Any) -> None:
        """Publish a message.

        Raises:
            TrackdError: It was not taken in time.
        """
        try:
            self._writer.write(message)
        except DDSException as error:
            raise TrackdError(f"cannot publish on {self.name}: {error.msg}") from error


def _qos(*policies: Any) -> Qos:
    """Policies, volatile and in the encoding of ROS 2 (XCDR version 1)."""
    encoding = Policy.DataRepresentation(use_cdrv0_representation=True)
    return Qos(*policies, Policy.Durability.Volatile, encoding)
