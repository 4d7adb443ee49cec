"""`trackd ros`: results to DDS topics, and prompts from them, until it is to stop."""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tracker.bridges.repeated import RepeatedWarning
from tracker.bridges.ros import messages
from tracker.bridges.ros.calibration import Calibration
from tracker.bridges.ros.names import namespaces
from tracker.bridges.ros.participant import Network, Participant, Reliability, Writer
from tracker.bridges.ros.translate import Translator, prompts_of
from tracker.client import Client, DaemonUnreachable, Result
from tracker.errors import TrackdError

_LOG = logging.getLogger("trackd.ros")
_WAIT_S = 0.2


@dataclass(frozen=True, kw_only=True)
class RosSettings:
    """Settings of the bridge.

    Attributes:
        streams: Names of the streams.
        topic_prefix: Namespace of all topics.
        domain: Number of the DDS domain.
        network: Where participants are looked for.
        reliability: Of what is published.
        frame_ids: Coordinate frame by stream; its name where left out.
        calibrations: By stream, published as camera info.
    """

    streams: tuple[str, ...]
    topic_prefix: str = "trackd"
    domain: int = 0
    network: Network = "loopback"
    reliability: Reliability = "sensor-data"
    frame_ids: Mapping[str, str] = field(default_factory=dict)
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)


@dataclass
class Counts:
    """Messages so far.

    Attributes:
        published: Frames sent to DDS.
        lost: Frames that the daemon sent and that never came.
        failed: Frames that could not be sent on.
        prompts: Prompts passed to the daemon.
        refused: Prompts that were none, or that the daemon refused.
    """

    published: int = 0
    lost: int = 0
    failed: int = 0
    prompts: int = 0
    refused: int = 0


def run(client: Client, settings: RosSettings, should_stop: Callable[[], bool]) -> Counts:
    """Pass results and prompts on until it is to stop.

    Raises:
        UsageError: Names that ROS 2 does not take.
        TrackdError: The domain cannot be joined.
    """
    names = namespaces(settings.topic_prefix, settings.streams)
    participant = Participant(settings.domain, settings.network)
    outputs = {one: StreamTopics(participant, settings, one, names[one]) for one in names}
    counts, left_out = Counts(), RepeatedWarning(_LOG)
    prompts = PromptTopics(client, participant, names, counts)
    with prompts, client.results_and_events(*settings.streams) as subscription:
        for name in names.values():
            _LOG.info("publishing %s/detections, %s/label_map", name, name)
        while not should_stop():
            received = subscription.receive(_WAIT_S)
            if not isinstance(received, Result):
                continue
            try:
                outputs[received.stream].publish(received)
                counts.published += 1
            except TrackdError as error:
                counts.failed += 1
                left_out.say(f"{received.stream}: a frame was left out: {error}")
        counts.lost = subscription.lost
    return counts


class StreamTopics:
    """Topics on which the results of a stream are published.

    Args:
        participant: Publishes them.
        settings: Of the bridge.
        stream: Name of the stream.
        namespace: Of its topics.
    """

    def __init__(
        self, participant: Participant, settings: RosSettings, stream: str, namespace: str
    ) -> None:
        def writer(name: str, kind: type[Any]) -> Writer:
            return participant.writer(f"{namespace}/{name}", kind, settings.reliability)

        self._stream = stream
        self._translator = Translator(messages, settings.frame_ids.get(stream, stream))
        self._calibration = settings.calibrations.get(stream)
        self._label_map = writer("label_map", messages.Image)
        self._detections = writer("detections", messages.Detection2DArray)
        self._camera_info = (
            None if self._calibration is None else writer("camera_info", messages.CameraInfo)
        )
        self._refused: dict[str, int] = {}
        self._misfit = False

    def publish(self, result: Result) -> None:
        """Publish what someone subscribes to.

        Raises:
            TrackdError: The masks are damaged, or DDS does not take the message.
        """
        topics = [
            (self._detections, self._publish_detections),
            (self._label_map, self._publish_label_map),
            (self._camera_info, self._publish_calibration),
        ]
        errors = []
        for writer, publish in topics:
            try:
                if writer is not None and writer.has_readers:
                    publish(writer, result)
            except TrackdError as error:  # the other topics go on
                errors.append(error)
        self._report_refused()
        if errors:
            raise errors[0]

    def _publish_detections(self, writer: Writer, result: Result) -> None:
        writer.write(self._translator.detections(result))

    def _publish_label_map(self, writer: Writer, result: Result) -> None:
        writer.write(self._translator.label_map(result))

    def _publish_calibration(self, writer: Writer, result: Result) -> None:
        assert self._calibration is not None
        size = (result.message.frame.width, result.message.frame.height)
        calibrated = (self._calibration.image_width, self._calibration.image_height)
        if size == calibrated:
            writer.write(self._translator.camera_info(self._calibration, result.message.frame))
        elif not self._misfit:
            _LOG.warning(
                "no camera_info of %s: it is for %dx%d pixels, the frames have %dx%d",
                self._stream, *calibrated, *size,
            )  # fmt: skip
        self._misfit = size != calibrated

    def _report_refused(self) -> None:
        for writer in (self._detections, self._label_map, self._camera_info):
            if writer is None:
                continue
            refused = writer.refused
            if refused > self._refused.get(writer.name, 0):
                _LOG.warning(
                    "a subscriber of %s asks for reliable messages, which are not offered; "
                    "let it take sensor data, or start with --qos reliable",
                    writer.name,
                )
            self._refused[writer.name] = refused


class PromptTopics:
    """Topics on which prompts come, and the thread that passes them to the daemon.

    Args:
        client: Of the daemon.
        participant: Receives them.
        namespaces: Namespace of each stream's topics.
        counts: Counts them.
    """

    def __init__(
        self,
        client: Client,
        participant: Participant,
        namespaces: Mapping[str, str],
        counts: Counts,
    ) -> None:
        self._client = client
        self._participant = participant
        self._counts = counts
        self._readers = {
            stream: participant.reader(f"{namespace}/prompt", messages.Detection2DArray)
            for stream, namespace in namespaces.items()
        }
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._pass_on, name="ros-prompts")

    def __enter__(self) -> "PromptTopics":
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._closed.set()
        self._thread.join()

    def _pass_on(self) -> None:
        while not self._closed.is_set():
            self._participant.wait(_WAIT_S)
            for stream, reader in self._readers.items():
                try:
                    for message in reader.take(1):
                        self._prompt(stream, message)
                except Exception as error:  # whatever bytes came: others may be messages
                    self._counts.refused += 1
                    _LOG.warning("a prompt for %s: %s", stream, error)

    def _prompt(self, stream: str, message: Any) -> None:
        if not isinstance(message, messages.Detection2DArray):  # its publisher left
            return
        for place in prompts_of(message):
            if self._closed.is_set():
                return
            try:
                result = self._client.prompt(stream, **place)
                self._counts.prompts += 1
                _LOG.info("%s: object %d is %s", stream, result.object.id, result.object.state)
            except DaemonUnreachable as error:  # nor would it answer the rest
                self._counts.refused += 1
                _LOG.warning("prompts for %s: %s", stream, error)
                return
            except TrackdError as error:
                self._counts.refused += 1
                _LOG.warning("a prompt for %s: %s", stream, error)
