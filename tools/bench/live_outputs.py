"""The outputs that a live stream can have, and how each is switched on for a measurement."""

import re
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tools.bench import output_readers
from tools.bench.program import PATIENCE_S, Program
from tools.serving import Daemon, free_ports
from tracker.errors import TrackdError
from tracker.protocol.replies import RecordingInfo

STREAM = "camera"
NOTHING = "masks alone"
_RECEIVER = Path(__file__).parents[2] / "examples" / "webhook_receiver.py"
_PASSED_ON = re.compile(r"(?:published|showed|sent) (\d+)")  # at the end of a bridge
_MEASURES = {"rotated_box": True, "velocity": True, "prediction": True}


def reader(kind: str, address: str, name: str) -> Program:
    """A reader of `tools.bench.output_readers`."""
    return Program("-m", output_readers.__name__, kind, address, name)


@dataclass(frozen=True)
class Attached:
    """An output that is switched on.

    Attributes:
        unit: What it passes on.
        passed_on: So many of them since it was switched on; it may end the output.
        pid: Of its own process; None where it is a part of the daemon.
        begun_s: On the monotonic clock, when it was switched on.
    """

    unit: str = ""
    passed_on: Callable[[], float] = lambda: 0
    pid: int | None = None
    begun_s: float = field(default_factory=time.monotonic)


Attach = Callable[[ExitStack, Daemon, Path], Attached]


@dataclass(frozen=True)
class Output:
    """An output of a live stream.

    Attributes:
        how: What is switched on, and who reads it.
        attach: Switches it on for the stream that runs, given a folder to write to.
        settings: Of the stream, given that folder.
        notify: Sinks of the daemon, given a folder for what they need; None for no sink.
        needs: Packages and programs; a package with the extra that brings it.
    """

    how: str
    attach: Attach = lambda stack, daemon, folder: Attached()
    settings: Callable[[Path], dict[str, Any]] = lambda folder: {}
    notify: Callable[[ExitStack, Path], dict[str, Any]] | None = None
    needs: Mapping[str, str] | None = None

    @property
    def problem(self) -> str:
        """Why it cannot be measured here; "" where it can."""
        for name, source in (self.needs or {}).items():
            if find_spec(name) is None and shutil.which(name) is None:
                return f"it needs {name}: {source}"
        return ""


def zones() -> dict[str, Any]:
    """Sixteen polygons and six lines over the whole picture, which tell each move."""
    found: dict[str, Any] = {}
    for column in range(4):
        for row in range(4):
            corners = [(column, row), (column + 1, row), (column + 1, row + 1), (column, row + 1)]
            found[f"cell-{column}-{row}"] = {"polygon": [(x / 4, y / 4) for x, y in corners]}
    for index in range(1, 4):
        found[f"row-{index}"] = {"line": [(0, index / 4), (1, index / 4)]}
        found[f"column-{index}"] = {"line": [(index / 4, 0), (index / 4, 1)]}
    return {
        name: {**shape, "normalized": True, "anchor": "CENTER", "min_frames": 1}
        for name, shape in found.items()
    }


def _measured(_folder: Path) -> dict[str, Any]:
    return {"zones": zones(), "measure": _MEASURES}


def _previews(stack: ExitStack, daemon: Daemon, _folder: Path) -> Attached:
    subscriber = stack.enter_context(reader("pictures", daemon.config["data"]["bind"], STREAM))
    subscriber.wait_for("ready")
    return Attached("pictures", lambda: _count(subscriber))


def _zones(_stack: ExitStack, daemon: Daemon, _folder: Path) -> Attached:
    before = _zone_events(daemon)
    return Attached("events", lambda: _zone_events(daemon) - before)


def _zone_events(daemon: Daemon) -> int:
    with daemon.client() as client:
        (stream,) = client.metrics()["streams"]
        return int(stream["zone_events"])


def _sink(_stack: ExitStack, daemon: Daemon, _folder: Path) -> Attached:
    before = _confirmed(daemon)
    return Attached("events", lambda: _confirmed(daemon) - before)


def _record(_stack: ExitStack, daemon: Daemon, _folder: Path) -> Attached:
    _wait_until(lambda: _recording(daemon).state == "on", "nothing is recorded")
    before = _recording(daemon).bytes
    return Attached("MiB", lambda: (_recording(daemon).bytes - before) / 2**20)


def _recording(daemon: Daemon) -> RecordingInfo:
    with daemon.client() as client:
        (stream,) = client.streams()
    if stream.recording is None or stream.recording.state == "failed":
        raise TrackdError(f"it is not recorded: {stream.recording}")
    return stream.recording


def _restream(stack: ExitStack, daemon: Daemon, folder: Path) -> Attached:
    attached, _ = _bridge(stack, daemon, "restream", "--to", str(folder / "live.m3u8"))
    _wait_until(lambda: any(folder.glob("live*")), "trackd restream writes nothing")
    return attached


def _ros(stack: ExitStack, daemon: Daemon, folder: Path) -> Attached:
    prefix = f"b{folder.name}".replace("-", "_").lower()
    words = ("--domain", str(output_readers.DOMAIN), "--topic-prefix", prefix)
    attached, _ = _bridge(stack, daemon, "ros", *words, until="publishing")
    participant = stack.enter_context(reader("dds", "", f"/{prefix}/{STREAM}"))
    participant.wait_for("ready")
    return Attached("messages", lambda: _count(participant), attached.pid)


def _foxglove(stack: ExitStack, daemon: Daemon, _folder: Path) -> Attached:
    attached, line = _bridge(stack, daemon, "view", "--foxglove", "--port", "0", until="ws://")
    (url,) = re.findall(r"ws://\S+", line)
    viewer = stack.enter_context(reader("foxglove", url, STREAM))
    viewer.wait_for("ready")
    return Attached("messages", lambda: _count(viewer), attached.pid)


def _rerun(stack: ExitStack, daemon: Daemon, folder: Path) -> Attached:
    path = str(folder / "live.rrd")
    return _bridge(stack, daemon, "view", "--rerun", path, until="showing")[0]


def _bridge(
    stack: ExitStack, daemon: Daemon, command: str, *options: str, until: str = ""
) -> tuple[Attached, str]:
    """A bridge that passes pictures on, and the line that it said when it began."""
    sockets = (
        "--control",
        daemon.config["control"]["bind"],
        "--data",
        daemon.config["data"]["bind"],
    )
    words = ("-m", "tracker.cli.main", command, STREAM, *options, *sockets)
    program = stack.enter_context(Program(*words))
    line = program.wait_for(until) if until else ""

    def passed_on() -> float:
        said = program.end()
        found = _PASSED_ON.search(said)
        if found is None:
            raise TrackdError(f"trackd {command} did not say what it passed on, but {said!r}")
        return int(found[1])

    return Attached("pictures", passed_on, program.process.pid), line


def _wait_until(done: Callable[[], bool], otherwise: str) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while not done():
        if time.monotonic() > until_s:
            raise TrackdError(f"{otherwise} within {PATIENCE_S:g} s")
        time.sleep(0.1)


def _count(program: Program) -> int:
    return int(program.end())


def _confirmed(daemon: Daemon) -> int:
    with daemon.client() as client:
        return sum(sink["sent"] for sink in client.metrics()["sinks"])


def _mqtt(stack: ExitStack, _folder: Path) -> dict[str, Any]:
    (port,) = free_ports(1)
    stack.enter_context(Program("mosquitto", "-p", str(port)))
    return {"mqtt": {"host": "127.0.0.1", "port": port}}


def _webhook(stack: ExitStack, folder: Path) -> dict[str, Any]:
    secret = folder / "webhook-secret"
    secret.touch(mode=0o600)
    secret.write_text("0123456789abcdef")
    receiver = stack.enter_context(Program(str(_RECEIVER), str(secret)))
    url = f"http://127.0.0.1:{int(receiver.wait_for(''))}/"
    hook = {"url": url, "secret_file": str(secret), "allow_private": True}
    return {"webhooks": [hook]}


_EXTRA = "pip install 'trackd[{}]'"
OUTPUTS: dict[str, Output] = {
    NOTHING: Output("masks as RLE, to one subscriber, who decodes them and is there in all rows"),
    "previews": Output("5 a second, 640 px, to a second subscriber", _previews),
    "zones and measures": Output("16 polygons, 6 lines, all measures", _zones, _measured),
    "MQTT": Output(
        "the same, and its events to mosquitto", _sink, _measured, _mqtt,
        {"paho": _EXTRA.format("mqtt"), "mosquitto": "apt install mosquitto"},
    ),
    "webhook": Output(
        "the same, and its events to examples/webhook_receiver.py", _sink, _measured, _webhook
    ),
    "record": Output(
        "packets and messages", _record, lambda folder: {"record": {"dir": str(folder)}},
        needs={"mcap": _EXTRA.format("record")},
    ),
    "restream": Output("`trackd restream`, H.264 of 1280x720 with the overlay, to HLS", _restream),
    "ros": Output(
        "`trackd ros`, to a second participant", _ros, needs={"cyclonedds": _EXTRA.format("ros")}
    ),
    "foxglove": Output(
        "`trackd view --foxglove`, to a WebSocket client", _foxglove,
        needs={"foxglove": _EXTRA.format("foxglove"), "websockets": _EXTRA.format("studio")},
    ),
    "rerun": Output(
        "`trackd view --rerun FILE`", _rerun, needs={"rerun": _EXTRA.format("rerun")}
    ),
}  # fmt: skip
