"""`trackd config`: configurations of the daemon, to begin with and to check before it runs."""

import argparse
from collections.abc import Iterator
from importlib.resources import files
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
        help="check a configuration of the daemon, or print an example",
        description="Work with a configuration of `trackd serve`.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = actions.add_parser(
        "check", help="say whether `trackd serve` would take a file, and what it means"
    )
    check.add_argument("file", metavar="FILE", type=Path, help="a YAML file")
    example = actions.add_parser(
        "example",
        help="print an example, such as camera.yaml",
        description="Prints an example to begin with: configurations of `trackd serve`, a systemd "
        "unit, a Grafana dashboard. Without NAME: the names.",
        epilog="example: trackd config example camera.yaml > trackd.yaml",
    )
    example.add_argument("name", metavar="NAME", nargs="?", help="the example to print")


def run(args: argparse.Namespace) -> int:
    """Check a file, or print an example.

    Raises:
        UsageError: `trackd serve` would refuse the file, or there is no such example.
    """
    return _check(args) if args.action == "check" else _example(args.name)


def _example(name: str | None) -> int:
    from tracker.errors import UsageError

    texts = {
        file.name: file.read_text("utf-8") for file in (files("tracker.cli") / "configs").iterdir()
    }
    if name is None:
        print("\n".join(sorted(texts)))
    elif name in texts:
        print(texts[name], end="")
    else:
        raise UsageError(f"there is no example {name}", f"there are {', '.join(sorted(texts))}")
    return 0


def _check(args: argparse.Namespace) -> int:
    """Print what the file means; sources, ports and the model are not opened."""
    from tracker.daemon.access.curve import CurveAuthenticator
    from tracker.daemon.config.load import listeners, load_config
    from tracker.errors import UsageError

    config = load_config(args.file)
    checkpoint = config.model.checkpoint
    if checkpoint is not None and not checkpoint.exists():
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
    from tracker.daemon.notify.describe import describe_sinks
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
    yield "notify", describe_sinks(config.notify)
    yield "streams", f"{len(config.streams)} of at most {config.limits.streams}"
    for name, settings in config.streams.items():
        yield "", f"{name}: {redact(settings.url)} (policy {settings.policy}, {settings.encoding})"
