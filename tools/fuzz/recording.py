"""Records RTSP cameras and kills the daemon in the middle: `python -m tools.fuzz.recording`.

Two cameras are tracked and recorded; after half of the time the daemon is ended by SIGKILL and
started again. Then every file is opened by other readers than ours: each video decoded by PyAV,
each MCAP file listed by its own library. What recording costs is measured apart: a recorder of one
camera is fed at the camera's pace, in a process that does nothing else.
"""

import argparse
import os
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import torch
from mcap.exceptions import EndOfFile
from mcap.reader import NonSeekingReader

from streams.packet_tap import TappedVideo
from tools.bench.machine import describe_machine
from tools.rtsp_camera import RtspCamera
from tools.serving import Daemon
from tracker.daemon.record.messages import MessageRecorder
from tracker.daemon.record.video import VideoRecorder
from tracker.protocol.fields import RecordSettings
from tracker.protocol.recording import NoteTopic

_BOX = (400.0, 200.0, 800.0, 560.0)
_MESSAGE = b'{"v":1,"type":"masks","objects":[' + b"x" * 1500 + b"]}"
_LOOK_EVERY_S = 5.0


@dataclass
class Campaign:
    """What came of it.

    Attributes:
        seconds: Both halves together, without the starts.
        packets_dropped: As the daemon counted them, in both halves.
        messages_dropped: Likewise.
        videos: Files that were decoded.
        pictures: In them.
        mcaps: Files that were listed.
        cut: Of these, those without a footer.
        messages: In them.
        faults: Files that could not be opened.
    """

    seconds: float = 0.0
    packets_dropped: int = 0
    messages_dropped: int = 0
    videos: int = 0
    pictures: int = 0
    mcaps: int = 0
    cut: int = 0
    messages: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def main() -> int:
    """Run it, write the report, and return 1 where a file could not be opened."""
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz.recording", description=__doc__)
    parser.add_argument("clip", type=Path, help="an H.264 clip (MP4), which the cameras play")
    parser.add_argument("--seconds", type=float, default=600.0, help="of both halves (600)")
    parser.add_argument("--cameras", type=int, default=2)
    parser.add_argument("--cost-seconds", type=float, default=30.0, help="of measuring (30)")
    parser.add_argument("--report", type=Path, help="a Markdown file to write")
    args = parser.parse_args()
    percent = cost_percent(args.clip, args.cost_seconds)
    print(f"recording costs {percent:.2f} % of a core for a camera", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        campaign = run(args.clip, args.cameras, args.seconds, Path(folder))
        check(Path(folder, "recorded"), campaign)
    text = report(args, campaign, percent)
    print(text)
    if args.report is not None:
        args.report.write_text(text)
    return int(bool(campaign.faults))


def run(clip: Path, cameras: int, seconds: float, folder: Path) -> Campaign:
    """Record the cameras, killing the daemon after half of the time."""
    campaign = Campaign()
    record = {"dir": str(folder / "recorded"), "segment_s": 10.0}
    with ExitStack() as stack:
        servers = [stack.enter_context(RtspCamera(clip)) for _ in range(cameras)]
        streams = {
            f"cam{index}": {"url": server.url, "record": record}
            for index, server in enumerate(servers)
        }
        daemon = Daemon(folder / "daemon", {"streams": streams})
        for _ in range(2):
            with daemon:
                campaign.seconds += watch(daemon, seconds / 2, campaign)
                daemon.kill()
    return campaign


def watch(daemon: Daemon, seconds: float, campaign: Campaign) -> float:
    """Track an object of each camera for so long; returns how long it was."""
    begun_s = time.monotonic()
    with daemon.client() as client:
        for stream in client.streams():
            client.prompt(stream.stream, box=_BOX, wait_s=60)
        while time.monotonic() < begun_s + seconds:
            time.sleep(_LOOK_EVERY_S)
            infos = [stream.recording for stream in client.streams()]
        for info in infos:
            assert info is not None
            campaign.packets_dropped += info.dropped_packets
            campaign.messages_dropped += info.dropped_messages
            if info.error:
                campaign.faults.append(info.error)
    return time.monotonic() - begun_s


def check(folder: Path, campaign: Campaign) -> None:
    """Open every file."""
    for path in sorted(folder.rglob("*.*")):
        try:
            if path.suffix == ".mcap":
                _list(path, campaign)
            else:
                with av.open(str(path)) as container:
                    campaign.pictures += sum(1 for _ in container.decode(video=0))
                campaign.videos += 1
        except Exception as error:
            campaign.faults.append(f"{path.name}: {type(error).__name__}: {error}")


def _list(path: Path, campaign: Campaign) -> None:
    campaign.mcaps += 1
    with path.open("rb") as file:
        try:
            messages = NonSeekingReader(file).iter_messages(log_time_order=False)
            for _, channel, _ in messages:
                campaign.messages[channel.topic.partition(".")[0]] += 1
        except EndOfFile:
            campaign.cut += 1


def cost_percent(clip: Path, seconds: float) -> float:
    """Processor time of recording one camera, in percent of a core, reading it included.

    Packets of the clip at its rate, and with each a message of masks and the note of its frame.
    """
    with tempfile.TemporaryDirectory() as folder, av.open(str(clip)) as container:
        video = container.streams.video[0]
        packets: list[Any] = [packet for packet in container.demux(video) if packet.size]
        interval_s = 1 / float(video.average_rate or 25)
        settings = RecordSettings(dir=Path(folder), segment_s=10)
        messages = MessageRecorder()
        messages.add("cam", settings)
        recorder = VideoRecorder(
            "cam",
            settings,
            setup={"version": "0", "model": {}, "settings": {}},
            on_note=lambda topic, note: messages.note(
                "cam", topic, note.model_dump_json().encode()
            ),
            on_event=lambda event: None,
        )
        recorder.start()
        tapped = TappedVideo(recorder, video, None)
        begun_s, begun_processor_s = time.monotonic(), time.process_time()
        count = int(seconds / interval_s)
        for index in range(count):
            time.sleep(max(0.0, begun_s + index * interval_s - time.monotonic()))
            if index % len(packets) == 0:
                tapped = TappedVideo(recorder, video, None)
            tapped.offer(packets[index % len(packets)], 0)
            messages.sent("cam", "masks.cam", [_MESSAGE])
            messages.note("cam", NoteTopic.FRAMES, _MESSAGE[:200])
        spent_s = time.process_time() - begun_processor_s
        recorder.close(10)
        messages.stop(10)
    return 100 * spent_s / (count * interval_s)


def report(args: argparse.Namespace, campaign: Campaign, percent: float) -> str:
    """The outcome in Markdown."""
    machine = describe_machine(torch.device("cpu"))
    counts = ", ".join(f"{name} {count}" for name, count in sorted(campaign.messages.items()))
    rows = {
        "videos that PyAV decodes to their end": campaign.videos,
        "pictures in them": campaign.pictures,
        "MCAP files that their library lists": campaign.mcaps,
        "of these without a footer, since the daemon was killed": campaign.cut,
        "files that cannot be opened": len(campaign.faults),
        "packets dropped": campaign.packets_dropped,
        "messages dropped": campaign.messages_dropped,
        "processor time of recording one camera, of a core": f"{percent:.2f} %",
    }
    lines = [
        "# Recording",
        "",
        f"`python -m tools.fuzz.recording`, {machine.cpu}, {machine.cpus} shared CPUs, load "
        f"average {os.getloadavg()[0]:.1f} at the end: {args.cameras} RTSP cameras that play "
        f"{args.clip.name}, an object tracked on each, for {campaign.seconds:.0f} s. After half of "
        "it the daemon was killed (SIGKILL) and started again, and at the end killed.",
        "",
        "| | |",
        "|---|---:|",
        *(f"| {name} | {value} |" for name, value in rows.items()),
        "",
        f"Messages: {counts}. Processor time: of {args.cost_seconds:g} s of the clip's packets at "
        "its rate, with a message of 1.5 kB and a note each, in a process that does nothing else.",
        *(f"- {fault}" for fault in campaign.faults),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
