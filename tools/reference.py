"""Writes the reference pages, docs/cli.md and docs/configuration.md: `python -m tools.reference`.

Commands and options come from the parsers of `trackd`, keys of the configuration from its schema.
"""

import argparse
import inspect
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from streams.options import SourceOptions
from tracker.cli.main import build_parser
from tracker.daemon.config.schema import (
    ConfiguredStream,
    DaemonConfig,
    MqttConfig,
    MqttTlsConfig,
    SinkConfig,
    WebhookConfig,
)
from tracker.protocol.fields import (
    DeadlineSettings,
    FindSettings,
    MeasureSettings,
    Preview,
    RecordSettings,
    StreamSettings,
    ZoneSettings,
)

DOCS = Path(__file__).parents[1] / "docs"
_CLI_HEAD = """\
# Commands

`trackd COMMAND --help` says the same. Exit codes: 0 for success, 1 for a failure, 2 for wrong
usage, 78 for saved state that cannot be read, 130 when interrupted. With `TRACKD_DEBUG=1` in the
environment, a failure shows its traceback.
"""
_CONFIG_HEAD = """\
# Configuration

`trackd serve --config FILE` reads YAML. What is left out has its default; `trackd schema config`
prints the JSON schema, `trackd config check FILE` says what a file means, `trackd config example`
prints examples. A value may hold `${NAME}`, which is taken from the environment; `$$` is one `$`.
Relative paths start at the folder of the file.

```yaml
streams:
  door:
    url: rtsp://10.0.0.5/main
    policy: latest
state:
  dir: state
```
"""


def main() -> int:
    """Write both pages."""
    for name, text in pages().items():
        (DOCS / name).write_text(text)
    return 0


def pages() -> dict[str, str]:
    """The pages by file name."""
    cli = [_CLI_HEAD, *_commands(build_parser())]
    config = [_CONFIG_HEAD, *_sections()]
    return {"cli.md": "\n".join(cli), "configuration.md": "\n".join(config)}


def _commands(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The sections of a parser's commands, actions included."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            summaries = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, sub in action.choices.items():
                yield _command(sub, summaries.get(name, ""))
                yield from _commands(sub)


def _command(parser: argparse.ArgumentParser, summary: str) -> str:
    """The section of one command; arguments of a command above, such as STREAM, are left out."""
    shown = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    rows = [(_spelling(action), _help(action)) for action in shown]
    title = " ".join(word for word in parser.prog.split() if not word.isupper())
    lines = [f"## {title}\n", f"{summary[:1].upper()}{summary[1:]}.\n"]
    return "\n".join([*lines, *(_table(("argument", "meaning"), rows) if rows else [])])


def _spelling(action: argparse.Action) -> str:
    metavar = action.metavar or (
        "{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest.upper()
    )
    if not action.option_strings:
        return f"`{metavar}`"
    names = ", ".join(action.option_strings)
    return f"`{names}`" if action.nargs == 0 else f"`{names} {metavar}`"


def _help(action: argparse.Action) -> str:
    if isinstance(action, argparse._SubParsersAction):
        return ", ".join(f"`{name}`" for name in action.choices)
    if not action.help and action.choices:
        return "one of these"
    return (action.help or "") % {"prog": "trackd", "default": action.default}


def _sections() -> Iterator[str]:
    """A section for each part of the configuration."""
    top = []
    for name, field in DaemonConfig.model_fields.items():
        if isinstance(field.default, BaseModel):
            yield _section(name, [type(field.default)])
        else:
            top.append(name)
    yield _section("notify.mqtt", [MqttConfig, SinkConfig])
    yield _section("notify.mqtt.tls", [MqttTlsConfig])
    yield _section("notify.webhooks", [WebhookConfig, SinkConfig])
    yield _section("streams.NAME", [ConfiguredStream, StreamSettings])
    yield _section("streams.NAME.options", [SourceOptions])
    yield _section("streams.NAME.preview", [Preview])
    yield _section("streams.NAME.deadline", [DeadlineSettings])
    yield _section("streams.NAME.measure", [MeasureSettings])
    yield _section("streams.NAME.zones.NAME", [ZoneSettings])
    yield _section("streams.NAME.find", [FindSettings])
    yield _section("streams.NAME.record", [RecordSettings])
    rows = [_key(DaemonConfig, name, _meanings(DaemonConfig)) for name in top]
    yield "\n".join(["## The rest\n", *_table(("key", "default", "meaning"), rows)])


def _section(name: str, models: list[type[BaseModel]]) -> str:
    """The keys of the first model, with the meanings that all of them give; the last one's win."""
    meanings: dict[str, str] = {}
    for model in models:
        meanings |= _meanings(model)
    summary = (inspect.getdoc(models[0]) or "").splitlines()[0]
    rows = [_key(models[0], key, meanings) for key in models[0].model_fields]
    return "\n".join([f"## {name}\n", f"{summary}\n", *_table(("key", "default", "meaning"), rows)])


def _key(model: type[BaseModel], name: str, meanings: dict[str, str]) -> tuple[str, str, str]:
    field = model.model_fields[name]
    default: Any = field.get_default(call_default_factory=True)
    if field.is_required():
        text = "required"
    elif isinstance(default, BaseModel) or default in (None, "", (), {}):
        text = "-"
    elif isinstance(default, tuple):
        text = f"`{', '.join(default)}`"
    else:
        text = f"`{str(default).lower() if isinstance(default, bool) else default}`"
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    return f"`{name}`", text, meanings.get(name) or f"one of {', '.join(choices)}"


def _meanings(model: type[BaseModel]) -> dict[str, str]:
    """Descriptions of the keys, from the `Attributes:` of a docstring."""
    _, _, attributes = (inspect.getdoc(model) or "").partition("Attributes:\n")
    found = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", attributes, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}


def _table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    cells = [[cell.replace("|", "\\|") or "-" for cell in row] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in [headings, ("---",) * len(headings), *cells]]
    return [*lines, ""]


if __name__ == "__main__":
    raise SystemExit(main())
