"""`trackd choose`: which model to track with."""

import argparse
import json
from dataclasses import asdict
from typing import Any

from tracker.errors import UsageError


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to `trackd`."""
    parser = subparsers.add_parser(
        "choose",
        help="say which model to track with",
        description="Says which model to track with on this machine, and why. It knows the speeds "
        "that trackd models --measure has measured.",
    )
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda or mps")
    parser.add_argument("--objects", type=int, default=1, metavar="N", help="at a time (default 1)")
    parser.add_argument(
        "--fps", type=float, default=10.0, metavar="N", help="frames a second (default 10)"
    )
    parser.add_argument(
        "--quality",
        default="any",
        choices=["any", "good", "best"],
        help="any (default), good: an official model, best: the largest",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Answer.

    Raises:
        UsageError: A number is out of its range, or there is no such device.
        ModelError: The record of speeds is damaged.
    """
    if args.objects < 1 or not 0 < args.fps < 10_000:
        raise UsageError(
            "--objects or --fps is out of range", "give at least 1 object, fps above 0"
        )
    from tracker.choose.choice import Quality, Wish, choose
    from tracker.choose.measure import names_here
    from tracker.choose.record import read_measurements
    from tracker.models.load import choose_device

    device = choose_device(args.device).type
    wish = Wish(device, args.objects, args.fps, Quality(args.quality))
    measured = read_measurements()
    choice = choose(wish, measured, names_here())
    if args.json:
        print(json.dumps(asdict(choice)))
        return 0
    here = {item.name for item in choice.candidates if item.is_here}
    print(f"use {choice.name}: {choice.why}")
    for item in choice.candidates:
        where = "here" if item.is_here else f"trackd models get {item.name}"
        print(f"  {item.name}: {item.why} ({where})")
    if any(item.ms is None and item.is_here for item in choice.candidates):
        print("  to measure what is here: trackd models --measure")
    if choice.name not in here:
        print(f"  first: trackd models get {choice.name}")
    print(f"  then: trackd track CLIP --model {choice.name} ...")
    return 0
