"""`--source-option KEY=VALUE`, of the commands that open a source."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

from tracker.errors import UsageError

if TYPE_CHECKING:
    from streams.options import SourceOptions


class Given(TypedDict, total=False):
    """The options as a keyword; nothing where there are none."""

    options: "SourceOptions"


def add_option(parser: "argparse._ActionsContainer") -> None:
    """Add the option; its values go to `args.source_options`."""
    parser.add_argument(
        "--source-option",
        dest="source_options",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="how a camera or a server is spoken to, such as rtsp_transport=udp (repeats)",
    )


def given(pairs: Sequence[str]) -> Given:
    """The options that were typed.

    Raises:
        UsageError: A text is no KEY=VALUE, or a key comes twice.
        SourceUsageError: A key or a value that there is not.
    """
    from streams.options import SourceOptions

    texts: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError("--source-option takes KEY=VALUE", "such as rtsp_transport=udp")
        if name in texts:
            raise UsageError(f"--source-option {name} is given twice", "leave one out")
        texts[name] = value
    return {"options": SourceOptions.from_texts(texts)} if texts else {}
