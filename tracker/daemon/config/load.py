"""Loader of the YAML configuration, with errors that say where and what instead."""

import contextlib
import difflib
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ValidationError

from streams.address import local_path, parse_address
from streams.errors import SourceDenied, SourceNotFound, SourceUsageError
from tracker.address_file import read_address, warning_of
from tracker.daemon.config.schema import ConfiguredStream, DaemonConfig, NotifyConfig
from tracker.daemon.finding.choice import choose_finder
from tracker.daemon.net.endpoint import parse_bind
from tracker.daemon.notify.hosts import webhook_hosts
from tracker.daemon.record.check import check_recording
from tracker.daemon.sources.client_sources import source_policy
from tracker.daemon.sources.frame_rate_limiter import check_deadline
from tracker.errors import UsageError
from tracker.models.registry import find_spec
from tracker.protocol.fields import StreamSettings
from tracker.text_file import decode_text

MAX_CONFIG_BYTES = 1024 * 1024
MAX_VALUES = 10_000

_LOG = logging.getLogger("trackd.config")
M = TypeVar("M", bound=BaseModel)
_HINT = "see trackd schema config"
_REFERENCE = re.compile(r"\$\$|\$\{(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)\})?")
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
_WORDS = {
    "model_type": "expected keys and values below it",
    "model_attributes_type": "expected keys and values below it",
    "dict_type": "expected keys and values below it",
    "missing": "is missing",
}


class _Fault(Exception):  # noqa: N818 - never leaves this module
    """Fault in the file, and how to fix it."""

    def __init__(self, text: str, hint: str = _HINT) -> None:
        super().__init__(text)
        self.text = text
        self.hint = hint


def load_config(path: Path, environ: Mapping[str, str] | None = None) -> DaemonConfig:
    """Read, check and complete a configuration.

    `${NAME}` in a value stands for the environment's NAME, `$$` for one `$`. Relative paths start
    at the folder of the file. Whether keys, weights and sources are there is not looked at.

    Args:
        path: The YAML file.
        environ: In place of `os.environ`.

    Raises:
        UsageError: The file cannot be read or does not follow the format; one line that names
            the file and the key, and never holds a value that may be a secret.
    """
    try:
        tree = _parse(_read(path))
        config = _validate(_filled(tree, os.environ if environ is None else environ))
        config = _with_addresses(config, path.absolute().parent)
        _check(config)
        config = _anchored(config, path.absolute().parent)
        _check_recordings(config)
    except _Fault as fault:
        raise UsageError(f"{path}{fault.text}", fault.hint) from fault.__cause__
    return config


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
    except OSError as error:
        raise _Fault(f": {error.strerror}", "give a YAML file") from error
    if len(data) > MAX_CONFIG_BYTES:
        raise _Fault(f": larger than {MAX_CONFIG_BYTES >> 20} MiB", "is it the right file?")
    try:
        return decode_text(data)
    except ValueError as error:
        raise _Fault(f": {error}", "is it the right file?") from error


class _Loader(yaml.SafeLoader):
    """YAML whose keys are texts and appear once; plain YAML keeps the last in silence."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.tag != "tag:yaml.org,2002:str":
                text = f"the key {key.value!r} is not text; put quotes around it"
                raise yaml.MarkedYAMLError(problem=text, problem_mark=key.start_mark)
            if key.value in seen:
                text = f"the key {key.value} appears twice"
                raise yaml.MarkedYAMLError(problem=text, problem_mark=key.start_mark)
            seen.add(key.value)
        return node


def _parse(text: str) -> dict[str, Any]:
    try:
        tree = yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise _Fault(f"{line}: {error.problem}", "check the indentation and quotes") from error
    except (yaml.YAMLError, ValueError) as error:
        raise _Fault(f": not YAML: {str(error).splitlines()[0]}", "check its text") from error
    except RecursionError as error:
        raise _Fault(": nested too deeply") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise _Fault(": expected keys and values", "such as `model:`")
    return tree


def _filled(tree: dict[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """Replace the references to the environment; a copy."""
    count = 0

    def fill(value: Any, where: str) -> Any:
        nonlocal count
        count += 1
        if count > MAX_VALUES:  # aliases can make a short file endless
            raise _Fault(f": more than {MAX_VALUES} values", "are there aliases in aliases?")
        if isinstance(value, dict):
            return {key: fill(below, f"{where}.{key}") for key, below in value.items()}
        if isinstance(value, list):
            return [fill(below, f"{where}[{index}]") for index, below in enumerate(value)]
        return _substitute(value, where[1:], environ) if isinstance(value, str) else value

    try:
        filled: dict[str, Any] = fill(tree, "")
    except RecursionError as error:
        raise _Fault(": nested too deeply") from error
    return filled


def _substitute(text: str, where: str, environ: Mapping[str, str]) -> str:
    def replacement(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        if match["name"] is None:
            raise _Fault(f": {where}: ${{ without NAME}}", "write ${NAME}, or $$ for one $")
        if match["name"] not in environ:
            raise _Fault(
                f": {where}: {match['name']} is not set in the environment",
                "export it, or write $$ for one $",
            )
        return environ[match["name"]]

    return _REFERENCE.sub(replacement, text)


def _validate(tree: dict[str, Any]) -> DaemonConfig:
    try:
        return DaemonConfig.model_validate(tree)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        # A misspelt key is also a missing one; the misspelling is what helps.
        faults.sort(key=lambda fault: fault["type"] != "extra_forbidden")
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        text, hint = _explain(faults[0])
        raise _Fault(f": {_dotted(faults[0]['loc'])}: {text}{more}", hint) from None


def _explain(fault: Any) -> tuple[str, str]:
    kind, loc = fault["type"], fault["loc"]
    if kind == "extra_forbidden":
        allowed = _keys_at(loc[:-1])
        close = difflib.get_close_matches(str(loc[-1]), allowed, n=1)
        return "unknown key", f"did you mean {close[0]}?" if close else "use " + ", ".join(allowed)
    if loc[-1] == "[key]":
        kind = "zone" if "zones" in loc[2:] else "stream"
        return f"not a {kind} name", "use letters, digits, - and _, at most 64"
    text = _WORDS.get(kind) or fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return text, _HINT


def _keys_at(loc: tuple[int | str, ...]) -> list[str]:
    """The keys that may stand at a place of the configuration."""
    model: Any = DaemonConfig
    for part in loc:
        if get_origin(model) is tuple:
            model = get_args(model)[0]
            continue
        is_dict = get_origin(model) is dict
        model = get_args(model)[1] if is_dict else model.model_fields[str(part)].annotation
        if not is_dict and type(None) in get_args(model):
            model = get_args(model)[0]
    return list(model.model_fields) if issubclass(model, BaseModel) else []


def _dotted(loc: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in loc if part != "[key]")


def _with_addresses(config: DaemonConfig, folder: Path) -> DaemonConfig:
    """Read the addresses that are in files."""
    streams = dict(config.streams)
    for name, settings in config.streams.items():
        if settings.url_file is None:
            continue
        path = folder / settings.url_file
        try:
            url = read_address(path)
        except UsageError as error:
            raise _Fault(f": streams.{name}.url_file: {error.message}", error.hint) from error
        if warning := warning_of(path):
            _LOG.warning("%s", warning)
        streams[name] = settings.model_copy(update={"url": url, "url_file": None})
    return config.model_copy(update={"streams": streams})


def _anchored(config: DaemonConfig, folder: Path) -> DaemonConfig:
    """Let relative paths start at `folder`."""

    def place(path: Path | None) -> Path | None:
        return None if path is None else folder / path

    def place_url(url: str) -> str:
        path = local_path(url)
        return url if path is None else str(folder / path)

    def place_all(paths: tuple[Path, ...] | None) -> tuple[Path, ...] | None:
        return None if paths is None else tuple(folder / path for path in paths)

    def place_stream(settings: ConfiguredStream) -> ConfiguredStream:
        record = settings.record
        if record is not None:
            record = record.model_copy(update={"dir": folder / record.dir})
        return settings.model_copy(update={"url": place_url(settings.url), "record": record})

    security = {
        "server_key": place(config.security.server_key),
        "client_keys": place(config.security.client_keys),
        "file_roots": place_all(config.security.file_roots),
        "record_roots": place_all(config.security.record_roots),
    }
    notify = _anchored_sinks(config.notify, folder)
    return config.model_copy(
        update={
            "notify": notify,
            "model": config.model.model_copy(update={"checkpoint": place(config.model.checkpoint)}),
            "security": config.security.model_copy(update=security),
            "state": config.state.model_copy(update={"dir": place(config.state.dir)}),
            "streams": {name: place_stream(one) for name, one in config.streams.items()},
        }
    )


def _anchored_sinks(config: NotifyConfig, folder: Path) -> NotifyConfig:
    def placed(part: M, *names: str) -> M:
        found = {name: getattr(part, name) for name in names}
        return part.model_copy(update={n: folder / path for n, path in found.items() if path})

    mqtt = config.mqtt
    if mqtt is not None:
        mqtt = placed(mqtt, "password_file")
        if mqtt.tls is not None:
            tls = placed(mqtt.tls, "ca_file", "cert_file", "key_file")
            mqtt = mqtt.model_copy(update={"tls": tls})
    webhooks = tuple(placed(one, "secret_file") for one in config.webhooks)
    return config.model_copy(update={"mqtt": mqtt, "webhooks": webhooks})


def _check_webhooks(config: NotifyConfig) -> None:
    """Refuse URLs that are never posted to; the errors do not hold them."""
    for index, webhook in enumerate(config.webhooks):
        where = f": notify.webhooks.{index}.url"
        try:
            url = urlsplit(webhook.url)
            host, _ = url.hostname, url.port
        except ValueError as error:
            raise _Fault(f"{where}: no URL", "such as https://example.org/events") from error
        if url.scheme not in ("http", "https") or not host:
            raise _Fault(f"{where}: no URL of http or https", "such as https://example.org/events")
        if url.username is not None or url.password is not None:
            raise _Fault(f"{where}: holds a login", "requests are signed; leave it out")
        if url.scheme == "http" and not webhook.allow_private:
            raise _Fault(f"{where}: is not https", "only allow_private goes without TLS")
        try:
            webhook_hosts(webhook.allow_private, lambda: ()).check_literal(host, url.port or 443)
        except SourceDenied as error:
            raise _Fault(f"{where}: {host} is no public address", "set allow_private") from error


def _check_optimizations(names: tuple[str, ...]) -> None:
    if not names:
        return
    from tracker.models.optim.plan import check_names  # imports torch

    try:
        check_names(names)
    except UsageError as error:
        raise _Fault(f": model.without: {error.message}", error.hint) from error


def _check(config: DaemonConfig) -> None:
    """Refuse what the types of the fields cannot."""
    try:
        find_spec(config.model.name)
    except UsageError as error:
        raise _Fault(f": model.name: {error.message}", error.hint) from error
    if not _DEVICE.fullmatch(config.model.device):
        raise _Fault(": model.device: no such kind of device", "use auto, cpu, cuda, cuda:N or mps")
    _check_optimizations(config.model.without)
    _check_listeners(config)
    _check_webhooks(config.notify)
    try:
        source_policy(config.security)
    except UsageError as error:
        raise _Fault(f": {error.message}", error.hint) from error
    if len(config.streams) > config.limits.streams:
        raise _Fault(
            f": streams: {len(config.streams)} of them, but limits.streams is "
            f"{config.limits.streams}",
            "raise the limit",
        )
    for name, settings in config.streams.items():
        try:
            with contextlib.suppress(SourceNotFound):  # it may be plugged in later
                parse_address(settings.url, settings.options)
        except SourceUsageError as error:
            raise _Fault(f": streams.{name}.url: {error.message}", error.hint) from error
        try:
            check_deadline(settings)
        except UsageError as error:
            raise _Fault(f": streams.{name}.deadline: {error.message}", error.hint) from error
        _check_finder(name, settings)


def _check_finder(name: str, settings: StreamSettings) -> None:
    if settings.find is None:
        return
    try:
        choose_finder(settings.find, trusted=True)
    except UsageError as error:
        raise _Fault(f": streams.{name}.find: {error.message}", error.hint) from error


def _check_recordings(config: DaemonConfig) -> None:
    for name, settings in config.streams.items():
        try:
            check_recording(settings)
        except UsageError as error:
            raise _Fault(f": streams.{name}.record: {error.message}", error.hint) from error


def listeners(config: DaemonConfig) -> dict[str, str]:
    """The addresses of the ZeroMQ sockets, by their keys."""
    binds = {"control.bind": config.control.bind, "data.bind": config.data.bind}
    if config.data.latest_bind is not None:
        binds["data.latest_bind"] = config.data.latest_bind
    return binds


def _check_listeners(config: DaemonConfig) -> None:
    taken: dict[int | str, str] = {config.http.port: "http.port"} if config.http.port else {}
    for key, address in listeners(config).items():
        try:
            bind = parse_bind(address)
        except UsageError as error:
            raise _Fault(f": {key}: {error.message}", error.hint) from error
        if bind.port is None and address.startswith("tcp://"):
            continue  # the system chooses a free one
        place: int | str = bind.port or address
        if place in taken:
            what = address if isinstance(place, str) else f"port {place}"
            raise _Fault(f": {key}: {what} is taken by {taken[place]}", "give each its own")
        taken[place] = key
