"""`trackd replay`: a recording, sent or tracked again."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracker.cli.moments import MOMENT_HELP, moment
from tracker.cli.printable import printable
from tracker.errors import UsageError

if TYPE_CHECKING:
    from tracker.replay.recompute import Comparison
    from tracker.replay.recording import Recording

_EXAMPLES = """\
examples:
  trackd replay /srv/recordings                  # as it was, on tcp://127.0.0.1:5571
  trackd replay /srv/recordings --stream door --speed 4
  trackd replay /srv/recordings/door --recompute
  trackd replay /srv/recordings/door --recompute --from 2026-11-28T14:00

A replay begins when somebody subscribes. --recompute tracks the recorded pictures again with the
recorded prompts and compares: exit code 0 where everything is the same, 1 where something differs.
It begins from a snapshot where objects came before the recording, or before --from.
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to `trackd`."""
    parser = subparsers.add_parser(
        "replay",
        help="send a recording again, or track it again and compare",
        description="Sends the messages of a recording again, byte for byte.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folder", type=Path, metavar="DIR", help="the folder of record.dir, or of a stream in it"
    )
    parser.add_argument("--stream", metavar="NAME", help="only this one")
    parser.add_argument(
        "--speed",
        type=_speed,
        default=1.0,
        metavar="X",
        help="times as fast as it was (1); 0 for as fast as subscribers take it",
    )
    parser.add_argument(
        "--bind",
        default="tcp://127.0.0.1:5571",
        metavar="ENDPOINT",
        help="where it is sent, on this machine (tcp://127.0.0.1:5571)",
    )
    parser.add_argument(
        "--recompute", action="store_true", help="send nothing; track it again and compare"
    )
    parser.add_argument(
        "--from",
        dest="start",
        type=moment,
        metavar="TIME",
        help=f"with --recompute: begin at the newest snapshot before it: {MOMENT_HELP}",
    )
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def _speed(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is no speed: write 1, 4 or 0.5")
    return value


def run(args: argparse.Namespace) -> int:
    """Replay, print the summary and return the exit code.

    Raises:
        TrackdError: There is no such recording, it is damaged, or the address is taken.
    """
    from tracker.replay.recording import open_recordings

    if args.start is not None and not args.recompute:
        raise UsageError("--from is for --recompute", "leave it out, or track the recording again")
    recordings = open_recordings(args.folder, args.stream)
    return _recompute(recordings, args) if args.recompute else _send(recordings, args)


def _send(recordings: "list[Recording]", args: argparse.Namespace) -> int:
    import json
    from dataclasses import asdict

    from tracker.cli.failures import INTERRUPTED
    from tracker.cli.interrupt import stop_on_signal
    from tracker.replay.publish import ReplaySocket, Sent, replay

    names = ", ".join(one.stream for one in recordings)
    with ReplaySocket(args.bind) as socket, stop_on_signal() as stop_asked:
        print(f"{printable(names)}: waits on {socket.endpoint} for a subscriber", file=sys.stderr)
        sent = Sent(stopped_early=True)
        if socket.wait_for_subscriber(stop_asked):
            sent = replay(recordings, socket, speed=args.speed or None, stop_asked=stop_asked)
    if args.json:
        print(json.dumps({"streams": [one.stream for one in recordings], **asdict(sent)}))
    else:
        early = ", stopped early" if sent.stopped_early else ""
        print(f"sent {sent.messages} messages of {printable(names)}{early}")
    return INTERRUPTED if sent.stopped_early else 0


def _recompute(recordings: "list[Recording]", args: argparse.Namespace) -> int:
    import json
    from dataclasses import asdict

    from tracker.cli.failures import INTERRUPTED
    from tracker.cli.interrupt import stop_on_signal
    from tracker.replay.export import begin_of
    from tracker.replay.recompute import Recomputation

    found = []
    with stop_on_signal() as stop_asked:
        for recording in recordings:
            begin_ns = None if args.start is None else begin_of(recording, args.start)
            found.append(Recomputation(recording, begin_ns).run(stop_asked=stop_asked))
            if not args.json:
                print(printable(_in_words(found[-1])), flush=True)
    if args.json:
        print(json.dumps([asdict(one) | {"equal": one.is_equal} for one in found]))
    if any(one.stopped_early for one in found):
        return INTERRUPTED
    return int(not all(one.is_equal for one in found))


def _in_words(one: "Comparison") -> str:
    early = ", stopped early" if one.stopped_early else ""
    begin = "" if one.from_snapshot is None else f" from the snapshot after {one.from_snapshot} on"
    begun = f"{one.stream}: {one.frames} frames tracked again{begin}{early}"
    counts = {
        "frames left out before a first snapshot": one.skipped,
        "frames not tracked again": one.underived,
        "snapshots not as computed": one.restored,
    }
    left = [f"{what}: {count}" for what, count in counts.items() if count]
    why = "; ".join([*left, *one.reasons])
    if not one.frames:
        return f"{begun}: nothing to compare" + (f": {why}" if why else "")
    if one.is_equal:
        return f"{begun}, all the same, byte for byte" + (f"; {why}" if why else "")
    return (
        f"{begun}: {one.same_bytes} the same, byte for byte, {one.same_masks} with the same masks; "
        f"from frame {one.first_different} on they differ, lowest IoU {one.lowest_iou:.3f}"
        + (f"; {why}" if why else "")
    )
