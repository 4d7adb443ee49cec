"""Packets copied without decoding: the same pictures, under the same times."""

import io
from fractions import Fraction
from pathlib import Path

import av
import pytest

from streams import open_source
from streams.errors import WriterError
from streams.packet_tap import StreamTemplate, TappedVideo, VideoPacket
from streams.packet_writer import PacketWriter, container_of
from tests.support.numbered_clip import number_of
from tests.support.recordings import reordered_clip


class Tap:
    """Writes all packets into one file; keeps the fragments apart."""

    def __init__(self, *, dts: bool = True) -> None:
        self.fragments: list[bytes] = []
        self.template: StreamTemplate | None = None
        self.writer: PacketWriter | None = None
        self._dts = dts

    def opened(self, template: StreamTemplate) -> bool:
        self.template = template
        return True

    def packet(self, template: StreamTemplate, packet: VideoPacket) -> None:
        assert template is self.template
        if not self._dts:
            packet = VideoPacket(packet.data, packet.pts, None, 0, packet.time_base, packet.is_key)
        if self.writer is None:
            self.writer = PacketWriter(template, packet, self.fragments.append)
        self.writer.mux(packet)

    def closed(self, template: StreamTemplate) -> None:
        pass

    def refused(self, reason: str) -> None:
        raise AssertionError(reason)


def read(data: bytes) -> list[tuple[Fraction, int]]:
    """Time and number of each picture."""
    with av.open(io.BytesIO(data)) as container:
        return [
            (frame.pts * frame.time_base, number_of(frame.to_ndarray(format="rgb24")))
            for frame in container.decode(video=0)
        ]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reordered_clip(tmp_path_factory.mktemp("clip") / "clip.mp4")


@pytest.mark.parametrize("dts", [True, False])
def test_a_copy_has_the_pictures_of_the_source_under_its_times(clip: Path, dts: bool) -> None:
    tap = Tap(dts=dts)
    with open_source(str(clip), tap=tap) as source:
        live = [(frame.pts, frame.time_base, number_of(frame.image)) for frame in source]
    writer = tap.writer
    assert writer is not None
    writer.close()
    offset = writer.first_dts * writer.time_base
    copied = [(at + offset, number) for at, number in read(b"".join(tap.fragments))]
    assert [number for _, number in copied] == list(range(60))
    assert copied == [(pts * base, number) for pts, base, number in live]


def test_what_was_handed_on_can_be_decoded_wherever_the_process_ends(clip: Path) -> None:
    tap = Tap()
    with open_source(str(clip), tap=tap) as source:
        list(source)
    assert len(tap.fragments) >= 2
    for count in range(1, len(tap.fragments) + 1):
        numbers = [number for _, number in read(b"".join(tap.fragments[:count]))]
        assert len(numbers) >= 20 * count
        assert sorted(numbers) == numbers


def test_a_source_that_outlives_its_input_can_still_be_written(clip: Path) -> None:
    tap = Tap()
    packets: list[VideoPacket] = []
    tap.packet = lambda template, packet: packets.append(packet)  # type: ignore[method-assign]
    with open_source(str(clip), tap=tap) as source:
        list(source)
    assert tap.template is not None
    data: list[bytes] = []
    writer = PacketWriter(tap.template, packets[0], data.append)
    for packet in packets:
        writer.mux(packet)
    writer.close()
    assert [number for _, number in read(b"".join(data))] == list(range(60))


def test_where_a_codec_goes() -> None:
    assert container_of("h264") == container_of("hevc") == container_of("mjpeg") == "mp4"
    assert container_of("vp8") == container_of("ffv1") == "matroska"
    with pytest.raises(WriterError, match=r"not compressed \(rawvideo\).*input_format=mjpeg"):
        container_of("rawvideo")


def test_first_packets_without_a_time_are_kept(clip: Path) -> None:
    """RTSP cameras send some."""
    given: list[VideoPacket] = []
    tap = Tap()
    tap.packet = lambda template, packet: given.append(packet)  # type: ignore[method-assign]
    with av.open(str(clip)) as container:
        video = container.streams.video[0]
        tapped = TappedVideo(tap, video, None)
        packets = [packet for packet in container.demux(video) if packet.size]
        for packet in packets[:2]:
            packet.pts = packet.dts = None
        for packet in packets:
            tapped.offer(packet, 0)
    assert [packet.data for packet in given] == [bytes(packet) for packet in packets]
    assert given[0].is_key and given[0].pts < given[1].pts < given[2].pts
    data: list[bytes] = []
    assert tap.template is not None
    writer = PacketWriter(tap.template, given[0], data.append)
    for copy in given:
        writer.mux(copy)
    writer.close()
    assert sorted(number for _, number in read(b"".join(data))) == list(range(60))


def test_a_source_without_any_times_is_timed_by_arrival(clip: Path) -> None:
    given: list[VideoPacket] = []
    tap = Tap()
    tap.packet = lambda template, packet: given.append(packet)  # type: ignore[method-assign]
    with av.open(str(clip)) as container:
        video = container.streams.video[0]
        tapped = TappedVideo(tap, video, None)
        packets = [packet for packet in container.demux(video) if packet.size]
        for index, packet in enumerate(packets):
            packet.pts = packet.dts = None
            tapped.offer(packet, index * 40_000_000)
    assert [packet.data for packet in given] == [bytes(packet) for packet in packets]
    times = [packet.pts for packet in given]
    assert times == sorted(set(times))
    assert times[-1] - times[20] == (len(times) - 21) * 3600
