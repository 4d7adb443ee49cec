"""`trackd schema`: the JSON Schema of the file formats."""

import argparse
import json
from typing import Any


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to `trackd`."""
    parser = subparsers.add_parser(
        "schema",
        help="print the JSON Schema of a file format",
        description="Prints the JSON Schema of a file format.",
    )
    parser.add_argument("name", choices=["prompts"], help="prompts: the file of --prompts")


def run(args: argparse.Namespace) -> int:
    """Print the schema that was asked for."""
    from tracker.annotate.prompts_file import PromptsFile

    print(json.dumps(PromptsFile.model_json_schema(), indent=2))
    return 0
