"""Constants of the model, each with its unit and origin, and the file that changes them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple, get_type_hints

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from tracker.errors import UsageError

MAX_FILE_BYTES = 64 * 1024
_TRACK = "tools.bench track --objects 1,2,4,8,16 --rounds 12 --against ours-unbatched,official"
_HERE = "tools.simulate.measure"
_WIRE = "tools.bench wire --objects 1,4"
_SCALE = "tools.bench scale --cameras 1 --small 2"
_GPU = "tools.bench model --model pico --dtype bf16 --device cuda"


class Origin(NamedTuple):
    """Unit of a constant, and the command that measured it, or that it is assumed and of what."""

    unit: str
    source: str


def _measured(unit: str, command: str, note: str = "") -> Origin:
    return Origin(unit, f"`python -m {command}`" + (f"; {note}" if note else ""))


def _assumed(unit: str, why: str) -> Origin:
    return Origin(unit, f"assumed: {why}" if why else "assumed")


Positive = Annotated[float, Field(ge=1e-12, le=1e15)]
Whole = Annotated[int, Field(ge=1, le=1_000_000)]
Share = Annotated[float, Field(ge=1e-6, le=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class Constants:
    """All that is put into the model; the defaults are those of docs/scale.md.

    `_1` and `_4` are for streams with one and with four objects of 1280x720.
    """

    # A stream.
    camera_fps: Annotated[Positive, _assumed("frames/s", "decoded, all of them")] = 25.0
    tracked_fps: Annotated[Positive, _assumed("frames/s", "`deadline.fps` of a stream")] = 10.0
    camera_bytes_per_s: Annotated[Positive, _assumed("bytes/s", "H.264 of 4 Mbit/s")] = 500e3
    four_objects_share: Annotated[
        Fraction, _assumed("", "of the streams, that have four objects; the others have one")
    ] = 0.25
    prompts_per_h: Annotated[Positive, _assumed("1/h", "objects prompted on a stream")] = 1.0

    # Its processor time.
    decode_ms: Annotated[Positive, _measured("core-ms a frame", _HERE)] = 7.78
    track_ms_1: Annotated[
        Positive, _measured("core-ms a frame", _TRACK, "int8, mean, times its 2 threads")
    ] = 65.9
    track_ms_4: Annotated[Positive, _measured("core-ms a frame", _TRACK, "likewise")] = 89.0
    encode_ms_1: Annotated[Positive, _measured("core-ms a result", _WIRE)] = 0.27
    encode_ms_4: Annotated[Positive, _measured("core-ms a result", _WIRE)] = 1.07
    gpu_ms_1: Annotated[Positive, _measured("ms a frame", _GPU, "sum of the stages, eager")] = 15.7
    gpu_ms_4: Annotated[
        Positive, _measured("ms a frame", _GPU, "between those of 1 and 8 objects")
    ] = 17.9
    snapshot_ms_1: Annotated[Positive, _measured("core-ms", _HERE)] = 3.93
    snapshot_ms_4: Annotated[Positive, _measured("core-ms", _HERE)] = 6.44
    restore_ms_1: Annotated[Positive, _measured("ms", _HERE)] = 4.72
    restore_ms_4: Annotated[Positive, _measured("ms", _HERE)] = 8.03
    model_load_s: Annotated[
        Positive, _measured("s", "tools.bench e2e --mode camera", "until a daemon is ready")
    ] = 3.84

    # Its memory and messages.
    node_base_mib: Annotated[
        Positive, _measured("MiB", _SCALE, "two workers, less twice one process")
    ] = 108.0
    worker_mib: Annotated[
        Positive, _measured("MiB", _SCALE, "one process with a model; small streams")
    ] = 507.0
    stream_mib: Annotated[
        Positive, _assumed("MiB", "50 bytes a pixel (Limits), 4 objects of 1.5 MiB")
    ] = 50.0
    masks_bytes_1: Annotated[Positive, _measured("bytes a result", _WIRE, "RLE")] = 2189.0
    masks_bytes_4: Annotated[Positive, _measured("bytes a result", _WIRE, "RLE")] = 8076.0
    preview_bytes: Annotated[Positive, _measured("bytes a picture", _HERE, "640 px")] = 50.3e3
    snapshot_bytes_1: Annotated[Positive, _measured("bytes", _HERE)] = 2.76e6
    snapshot_bytes_4: Annotated[Positive, _measured("bytes", _HERE)] = 4.29e6
    heartbeat_stream_bytes: Annotated[Positive, _measured("bytes a stream", _HERE)] = 120.0

    # The head, one loop in Python.
    request_ms: Annotated[
        Positive, _measured("core-ms a request", _HERE, "a ROUTER's loop with a table")
    ] = 0.103
    heartbeat_stream_ms: Annotated[Positive, _measured("core-ms a stream", _HERE)] = 0.00233
    placing_requests: Annotated[
        Whole, _assumed("requests", "by which the head places a stream: order, confirmation")
    ] = 2

    # Settings of the fleet.
    heartbeat_every_s: Annotated[Positive, _assumed("s", "setting")] = 1.0
    heartbeat_timeout_s: Annotated[Positive, _assumed("s", "setting; a silent node is dead")] = 5.0
    snapshot_every_s: Annotated[Positive, _assumed("s", "setting, as `state.every_s`")] = 10.0
    snapshot_max_age_s: Annotated[Positive, _assumed("s", "setting, as `state.max_age_s`")] = 300.0
    spare_share: Annotated[Fraction, _assumed("", "nodes more than needed; one at least")] = 0.1
    target_share: Annotated[Share, _assumed("", "of a node's processors that is planned for")] = 0.7
    full_share: Annotated[Share, _assumed("", "of them that is used where other nodes died")] = 0.9

    # Clients.
    viewers_per_stream: Annotated[Positive, _assumed("subscribers", "of its masks")] = 2.0
    previews_share: Annotated[Fraction, _assumed("", "of the streams, whose pictures are seen")] = (
        0.05
    )
    preview_fps: Annotated[Positive, _assumed("pictures/s", "default of `preview.fps`")] = 5.0
    lookups_per_s: Annotated[Positive, _assumed("1/s a viewer", "once a minute")] = 1 / 60

    # Machines and the network.
    node_cores: Annotated[Whole, _assumed("cores", "with a worker each")] = 16
    node_mib: Annotated[Positive, _assumed("MiB", "64 GiB")] = 65536.0
    node_link_bytes_per_s: Annotated[Positive, _assumed("bytes/s", "10 Gbit/s, each way")] = 1.25e9
    rack_nodes: Annotated[Whole, _assumed("nodes", "on one switch and supply")] = 20
    core_link_bytes_per_s: Annotated[
        Positive, _assumed("bytes/s", "100 Gbit/s, between racks, cameras and clients")
    ] = 12.5e9
    store_bytes_per_s: Annotated[Positive, _assumed("bytes/s", "reads and writes together")] = 1e9
    store_objects_per_s: Annotated[Positive, _assumed("1/s", "reads and writes together")] = 3000.0
    store_request_s: Annotated[Positive, _assumed("s", "before the first byte")] = 0.01
    store_restores_share: Annotated[
        Share, _assumed("", "of the store that restores get at least, beside snapshots")
    ] = 0.2

    # To open a camera again.
    connect_s: Annotated[Positive, _assumed("s", "RTSP over TCP")] = 0.5
    key_frame_s: Annotated[Positive, _assumed("s", "between key frames; half is waited for")] = 2.0

    # Failures: exponential times between them and to repair.
    node_mtbf_h: Annotated[Positive, _assumed("h", "two a year")] = 4380.0
    node_repair_h: Annotated[Positive, _assumed("h", "a restart, or a visit")] = 4.0
    rack_mtbf_h: Annotated[Positive, _assumed("h", "once in five years")] = 43800.0
    rack_repair_h: Annotated[Positive, _assumed("h", "")] = 2.0
    head_mtbf_h: Annotated[Positive, _assumed("h", "four a year")] = 2190.0
    head_repair_s: Annotated[Positive, _assumed("s", "started again, nodes report")] = 60.0
    store_slow_mtbf_h: Annotated[Positive, _assumed("h", "once a month")] = 730.0
    store_slow_h: Annotated[Positive, _assumed("h", "for which it stays slow")] = 0.5
    store_slow_share: Annotated[Share, _assumed("", "of its speed that is left then")] = 0.05


_ADAPTER = TypeAdapter(Constants)


@dataclass(frozen=True, slots=True)
class Described:
    """A constant for people."""

    name: str
    value: float
    origin: Origin


def describe(constants: Constants) -> list[Described]:
    """All constants in the order of the class, with the origins of their defaults."""
    hints = get_type_hints(Constants, include_extras=True)
    return [
        Described(name, getattr(constants, name), hint.__metadata__[-1])
        for name, hint in hints.items()
    ]


def load_constants(path: Path) -> Constants:
    """Constants of a YAML or JSON file; those that it does not name keep their defaults.

    Raises:
        UsageError: It cannot be read, is too large, or has a key or a value that is refused.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise UsageError(f"{path} is larger than {MAX_FILE_BYTES} bytes", "give fewer keys")
        values = yaml.safe_load(data)
    except OSError as err:
        raise UsageError(f"cannot read {path}: {err.strerror}", "give --constants FILE") from err
    except (yaml.YAMLError, ValueError, RecursionError) as err:
        raise UsageError(f"{path} is no YAML", "write one `name: number` a line") from err
    if not isinstance(values, dict):
        raise UsageError(f"{path} holds no keys", "write one `name: number` a line")
    return _checked(path, {str(key): value for key, value in values.items()})


def _checked(path: Path, values: dict[str, object]) -> Constants:
    try:
        return _ADAPTER.validate_python(values)
    except ValidationError as err:
        first = err.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            raise UsageError(f"{path}: there is no constant {key}", "see --list-constants") from err
        raise UsageError(f"{path}: {key}: {first['msg']}", "see --list-constants") from err
