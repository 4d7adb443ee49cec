"""`trackd restream`: a stream with its masks, or with objects hidden, sent on as video."""

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracker.cli import bridge, connection, source_address
from tracker.errors import UsageError

if TYPE_CHECKING:
    from tracker.bridges.restream.pictures import Hiding
    from tracker.bridges.restream.run import RestreamSettings
    from tracker.effects.base import EffectRequest, EffectSpec

_BITRATE = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)([kM]?)")
_UNITS = {"": 1, "k": 1_000, "M": 1_000_000}
_LEAST, _MOST = 50_000, 100_000_000
_HIDING = ("blur", "pixelate", "remove")
_EXAMPLES = """\
examples:
  trackd restream door --to rtsp://127.0.0.1:8554/door
  trackd restream door --to-file youtube.url --hide face,plate
  trackd restream door --to /srv/www/door.m3u8 --effect spotlight --bitrate 2M
  trackd restream door --to - | ffmpeg -i - -c copy -f mpegts srt://10.0.0.9:9000
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to `trackd`."""
    parser = subparsers.add_parser(
        "restream",
        help="send a stream on as video, with its masks or with objects hidden",
        description="Sends a stream on as H.264, each picture with its own masks, to an RTSP or "
        "RTMP server, an HLS playlist, or standard output (MPEG-TS).",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("stream", metavar="STREAM", help="a stream of the daemon")
    to = parser.add_mutually_exclusive_group(required=True)
    to.add_argument(
        "--to",
        metavar="URL",
        help="rtsp(s):// or rtmp(s):// address, path of a playlist (.m3u8), or - for MPEG-TS on "
        "standard output",
    )
    to.add_argument(
        "--to-file",
        type=Path,
        metavar="FILE",
        help="take the address, with its password or key, from this file (chmod 600)",
    )
    _add_picture_options(parser.add_argument_group("pictures"))
    connection.add_options(parser)


def _add_picture_options(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--effect",
        action="append",
        default=[],
        metavar="[TARGET=]NAME[:ARGUMENT]",
        help="as of trackd track; the overlay without --effect and --hide; repeats",
    )
    group.add_argument(
        "--hide",
        metavar="NAME,...",
        help="hide these objects, by label or id, or all; the whole picture while one of them has "
        "no mask of its own, or there is none of the name",
    )
    group.add_argument(
        "--hide-style", choices=["blur", "pixelate"], default="blur", help="how (blur)"
    )
    group.add_argument(
        "--show-unsure",
        action="store_true",
        help="with --hide: hide no more than the masks that there are",
    )
    group.add_argument(
        "--size",
        choices=["small", "medium", "large"],
        default="large",
        help="longer side of 480, 1280 or 1920 pixels (default) at most",
    )
    group.add_argument(
        "--bitrate", default="4M", metavar="N[k|M]", help="bits per second, at most (4M)"
    )


def run(args: argparse.Namespace) -> int:
    """Send until Ctrl-C or SIGTERM.

    Raises:
        UsageError: An option is wrong, or there is no such stream.
        TrackdError: The daemon does not answer, or the first connection fails.
    """
    from tracker.bridges.restream import run as restream

    settings = _settings(args)
    with connection.open_client(args) as client, bridge.running() as should_stop:
        bridge.check_streams(client, [args.stream])
        counts = restream.run(client, settings, should_stop)
    bridge.say(
        f"sent {counts.sent} pictures, {counts.dropped} dropped without a connection, "
        f"{counts.lost} lost; {counts.reconnects} reconnects"
    )
    return 0


def _settings(args: argparse.Namespace) -> "RestreamSettings":
    from tracker.bridges.restream.destination import STDOUT, parse_destination
    from tracker.bridges.restream.run import RestreamSettings
    from tracker.protocol.fields import PreviewSize

    address = args.to if args.to_file is None else source_address.from_file(args.to_file)
    to = parse_destination(address)
    if to.url == STDOUT and sys.stdout is not None and sys.stdout.isatty():
        raise UsageError("--to -: standard output is a terminal", "pipe it to another program")
    return RestreamSettings(
        stream=args.stream,
        to=to,
        size=PreviewSize(args.size),
        bitrate=_bits_per_second(args.bitrate),
        effects=_effects(args),
        hiding=_hiding(args),
    )


def _hiding(args: argparse.Namespace) -> "Hiding | None":
    from tracker.bridges.restream.pictures import Hiding

    if args.hide is None:
        if args.show_unsure:
            raise UsageError("--show-unsure is for --hide", "leave it out")
        return None
    targets = frozenset(filter(None, (name.strip() for name in args.hide.split(","))))
    if not targets:
        raise UsageError("--hide names nothing", "give labels or ids, or all")
    return Hiding(targets=targets, style=args.hide_style, hides_unsure=not args.show_unsure)


def _effects(args: argparse.Namespace) -> "tuple[tuple[EffectSpec, EffectRequest], ...]":
    from tracker.effects.chain import parse_effects

    if args.hide is not None and not args.effect:
        return ()
    found = parse_effects(args.effect)
    for spec, request in found:
        if spec.has_alpha:
            raise UsageError(f"--effect {spec.name}: H.264 has no transparency", "leave it out")
        if spec.name in _HIDING and not request.target.is_rest:
            raise UsageError(
                f"--effect {spec.name} shows what the tracker loses", "use --hide, which does not"
            )
    return tuple(found)


def _bits_per_second(text: str) -> int:
    match = _BITRATE.fullmatch(text)
    bits = round(float(match[1]) * _UNITS[match[2]]) if match else 0
    if not _LEAST <= bits <= _MOST:
        raise UsageError(f"--bitrate {text}: not from 50k to 100M", "as in --bitrate 2M")
    return bits
