"""`trackd prompts`: prompts files from the annotations of other programs."""

import argparse
import sys
from pathlib import Path
from typing import Any

from tracker.importers.registry import IMPORTERS

_EXAMPLES = """\
examples:
  trackd prompts from cvat annotations.xml -o prompts.json
  trackd prompts from labelme folder --frames first -o prompts.json
  trackd prompts from yolo dataset --frames 0-300:100 --by number -o prompts.json
  trackd track clip.mp4 --prompts prompts.json --davis masks
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to `trackd`."""
    parser = subparsers.add_parser(
        "prompts",
        help="make a prompts file from annotations of other programs",
        description="Makes a prompts file from annotations of other programs.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", choices=["from"], metavar="from", help="read a format")
    parser.add_argument(
        "format",
        metavar="FORMAT",
        help="; ".join(f"{row.name}: {row.help}" for row in IMPORTERS.built_in),
    )
    parser.add_argument("path", metavar="PATH", type=Path, help="the file or folder")
    parser.add_argument(
        "--frames",
        metavar="CHOICE",
        help="frames to take: N,N-M,N-M:STEP, name:NAME, or first for each object's first; "
        "all without",
    )
    parser.add_argument(
        "--by",
        choices=["name", "number"],
        help="address frames by the name of the picture, for a folder of pictures, or by number, "
        "for a video; by name where there is one, without",
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="stdout without")


def run(args: argparse.Namespace) -> int:
    """Read the annotations, write the prompts file, and return the exit code.

    Raises:
        UsageError: What is read is not of the format, or makes no prompts.
        OutputError: The file cannot be written.
    """
    from tracker.atomic import write_atomically
    from tracker.errors import OutputError
    from tracker.importers.prompts import FrameChoice, prompts_from

    choice = FrameChoice.parse(args.frames)
    content = prompts_from(IMPORTERS.find(args.format).read(args.path), choice, args.by)
    text = content.model_dump_json(exclude_defaults=True) + "\n"
    if args.output is None:
        sys.stdout.write(text)
        return 0
    try:
        write_atomically(args.output, text.encode())
    except OSError as error:
        raise OutputError(f"cannot write {args.output}: {error.strerror}") from error
    count = sum(len(item.prompts) for item in content.objects)
    print(f"{args.output}: {len(content.objects)} objects, {count} prompts")
    return 0
