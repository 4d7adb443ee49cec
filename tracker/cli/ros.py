"""`trackd ros`: results of streams as topics of ROS 2, and prompts from topics."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracker.cli import bridge, connection
from tracker.errors import UsageError
from tracker.extras import import_extra

if TYPE_CHECKING:
    from tracker.bridges.ros.run import RosSettings

_MOST = 232  # of the domains, whose ports follow from the number
_EXAMPLES = """\
examples:
  trackd ros door --frame-id camera_link
  trackd ros left right --frame-id left=left_optical --camera-info left=left.yaml
  trackd ros door --network all --domain 7

For each stream there are /trackd/STREAM/detections (vision_msgs/Detection2DArray) and
/trackd/STREAM/label_map (sensor_msgs/Image), and detections sent to /trackd/STREAM/prompt are
prompts. No ROS needs to be installed.
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to `trackd`."""
    parser = subparsers.add_parser(
        "ros",
        help="publish streams as topics of ROS 2, and take prompts from topics",
        description="Publishes detections and label maps of streams as topics of ROS 2 (DDS).",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    bridge.add_streams(parser)
    group = parser.add_argument_group("topics")
    group.add_argument(
        "--topic-prefix", default="trackd", metavar="NAME", help="namespace of the topics (trackd)"
    )
    group.add_argument(
        "--frame-id",
        action="append",
        default=[],
        metavar="[STREAM=]NAME",
        help="coordinate frame in the headers; the stream's name without; repeats",
    )
    group.add_argument(
        "--camera-info",
        action="append",
        default=[],
        metavar="[STREAM=]FILE",
        help="calibration (YAML of camera_calibration), published as camera_info; repeats",
    )
    group.add_argument(
        "--qos",
        choices=["sensor-data", "reliable"],
        default="sensor-data",
        help="best effort, as for sensors (default), or reliable",
    )
    network = parser.add_argument_group("network")
    network.add_argument(
        "--domain", type=int, metavar="N", help="DDS domain; $ROS_DOMAIN_ID, else 0"
    )
    network.add_argument(
        "--network",
        choices=["loopback", "all"],
        default="loopback",
        help="this machine alone (default), or the networks of CYCLONEDDS_URI, where everyone may "
        "read and prompt",
    )
    connection.add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Publish until Ctrl-C or SIGTERM.

    Raises:
        UsageError: An option is wrong, there is no such stream, or the extra is not installed.
        TrackdError: The daemon does not answer, or the domain cannot be joined.
    """
    import_extra("cyclonedds", extra="ros", who="trackd ros")
    from tracker.bridges.ros import run as ros

    settings = _settings(args)
    with connection.open_client(args) as client, bridge.running() as should_stop:
        bridge.check_streams(client, args.streams)
        counts = ros.run(client, settings, should_stop)
    print(
        f"published {counts.published} frames, {counts.lost} lost, {counts.failed} failed; "
        f"{counts.prompts} prompts, {counts.refused} refused"
    )
    return 0


def _settings(args: argparse.Namespace) -> "RosSettings":
    from tracker.bridges.ros.calibration import read_calibration
    from tracker.bridges.ros.run import RosSettings

    files = bridge.by_stream("--camera-info", args.camera_info, args.streams)
    return RosSettings(
        streams=tuple(dict.fromkeys(args.streams)),
        topic_prefix=args.topic_prefix,
        domain=_domain(args.domain),
        network=args.network,
        reliability=args.qos,
        frame_ids=bridge.by_stream("--frame-id", args.frame_id, args.streams),
        calibrations={stream: read_calibration(Path(file)) for stream, file in files.items()},
    )


def _domain(given: int | None) -> int:
    text = os.environ.get("ROS_DOMAIN_ID") or "0" if given is None else str(given)
    if not text.isdecimal() or int(text) > _MOST:
        raise UsageError(f"DDS domain {text}: not from 0 to {_MOST}", "give --domain N")
    return int(text)
