"""`trackd schema`: the JSON Schema of the file formats and the messages."""

import argparse
import json
from typing import Any


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to `trackd`."""
    parser = subparsers.add_parser(
        "schema",
        help="print the JSON Schema of a file or of messages",
        description="Prints the JSON Schema of a file format or of the daemon's messages.",
    )
    parser.add_argument(
        "name",
        choices=["prompts", "config", "protocol"],
        help="prompts: the file of --prompts; config: the file of `trackd serve`; "
        "protocol: every message on the daemon's sockets",
    )


def run(args: argparse.Namespace) -> int:
    """Print the schema that was asked for."""
    print(json.dumps(_schema(args.name), indent=2))
    return 0


def _schema(name: str) -> dict[str, Any]:
    if name == "config":
        from tracker.daemon.config.schema import DaemonConfig

        return DaemonConfig.model_json_schema()
    if name == "protocol":
        from tracker.protocol.schema import protocol_schema

        return protocol_schema()
    from tracker.annotate.prompts_file import PromptsFile

    return PromptsFile.model_json_schema()
