"""Names of ROS 2 topics, and as DDS has them."""

import re
from collections.abc import Sequence

from tracker.errors import UsageError

_PREFIX = re.compile(
    r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*(/[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*)*"
)


def namespaces(prefix: str, streams: Sequence[str]) -> dict[str, str]:
    """Namespace of the topics of each stream, such as "/trackd/door".

    ROS 2 takes letters, digits and single underscores, and no digit first: `cam-1` is `cam_1`, and
    `1` is `stream_1`.

    Raises:
        UsageError: The prefix is no name, or two streams would share one.
    """
    prefix = prefix.strip("/")
    if not _PREFIX.fullmatch(prefix):
        raise UsageError(
            f"--topic-prefix {prefix} is no name of ROS 2",
            "use letters, digits, single _ and /, a letter first",
        )
    found: dict[str, str] = {}
    for stream in streams:
        name = re.sub(r"[-_]+", "_", stream).strip("_")
        name = name if name[0].isalpha() else f"stream_{name}"
        namespace = f"/{prefix}/{name}"
        other = next((one for one, taken in found.items() if taken == namespace), None)
        if other is not None:
            raise UsageError(
                f"{other} and {stream} would both be {namespace}", "run a command for each"
            )
        found[stream] = namespace
    return found


def dds_topic(name: str) -> str:
    """Name in DDS of a ROS 2 topic: rt/trackd/door/detections for /trackd/door/detections."""
    return f"rt{name}"
