"""`trackd config`: look at a configuration of the daemon before it runs."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracker.cli.printable import printable

if TYPE_CHECKING:
    from tracker.daemon.access.curve import CurveAuthenticator
    from tracker.daemon.config.schema import DaemonConfig


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add `config` and its action to `trackd`."""
    parser = subparsers.add_parser(
        "config",
        help="check a configuration of the daemon",
        description="Work with a configuration of `trackd serve`.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = actions.add_parser(
        "check", help="say whether `trackd serve` would take a file, and what it means"
    )
    check.add_argument("file", metavar="FILE", type=Path, help="a YAML file")


def run(args: argparse.Namespace) -> int:
    """Check the file and print what it means; sources, ports and the model are not opened.

    Raises:
        UsageError: `trackd serve` would refuse it.
    """
    from tracker.daemon.access.curve import CurveAuthenticator
    from tracker.daemon.config.load import listeners, load_config
    from tracker.errors import UsageError

    config = load_config(args.file)
    checkpoint = config.model.checkpoint
    if checkpoint is not None and not checkpoint.is_file():
        raise UsageError(f"{args.file}: model.checkpoint: no such file: {checkpoint}")
    try:
        security = CurveAuthenticator.from_config(config.security, list(listeners(config).values()))
    except UsageError as error:
        raise UsageError(f"{args.file}: {error.message}", error.hint) from error
    print(printable(f"{args.file}: valid"))
    for key, text in _summary(config, security):
        print(printable(f"  {key:<9}{text}"))
    return 0


def _summary(
    config: "DaemonConfig", security: "CurveAuthenticator | None"
) -> Iterator[tuple[str, str]]:
    from streams.address import redact
    from tracker.daemon.sources.client_sources import describe_sources

    model, data, state = config.model, config.data, config.state
    yield "model", f"{model.name} on {model.device}, {model.dtype}, policy {model.policy}"
    yield "control", config.control.bind
    yield "data", data.bind + (f", latest {data.latest_bind}" if data.latest_bind else "")
    host = f"[{config.http.host}]" if ":" in config.http.host else config.http.host
    yield "http", f"http://{host}:{config.http.port}/metrics" if config.http.port else "off"
    if security is None:
        users = ", ".join(map(str, ["the daemon's own user", "root", *config.security.allow_users]))
        yield "keys", f"none: only programs on this machine can connect, of {users}"
    else:
        yield "keys", f"server {security.public_key.decode()}"
        yield "", security.clients.summary()
    yield "", f"may name as sources: {describe_sources(config.security)}"
    yield (
        "state",
        f"{state.dir}, every {state.every_s:g} s" if state.dir else "none",
    )
    yield "streams", f"{len(config.streams)} of at most {config.limits.streams}"
    for name, settings in config.streams.items():
        yield "", f"{name}: {redact(settings.url)} (policy {settings.policy}, {settings.encoding})"
