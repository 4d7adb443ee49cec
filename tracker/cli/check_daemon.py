"""Checks of `trackd doctor` for one daemon: ports, state folder, sources."""

import contextlib
import errno
import os
import shutil
import socket
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tracker.cli.check import Check, fail, ok, warn
from tracker.daemon.config.load import listeners
from tracker.daemon.config.schema import DaemonConfig
from tracker.daemon.net.endpoint import parse_bind

_PING_TIMEOUT_S = 2.0
_SOURCE_FRAMES = 50
_SOURCE_S = 3.0
_LITTLE_BYTES = 2**30
_TOO_LITTLE_BYTES = 64 * 2**20


def workers(config: DaemonConfig) -> Iterator[Check]:
    """The workers that a daemon has on this machine."""
    from tracker.daemon.workers.start import plan_for  # imports torch

    yield ok(f"workers: {plan_for(config).why}")


def ports(config: DaemonConfig) -> Iterator[Check]:
    """True if the daemon could listen, or is there already."""
    addresses = listeners(config)
    if config.http.port:
        host = f"[{config.http.host}]" if ":" in config.http.host else config.http.host
        addresses["http.port"] = f"tcp://{host}:{config.http.port}"
    found = {key: _why_not(address) for key, address in addresses.items()}
    daemon = _ask(config) if found["control.bind"] == errno.EADDRINUSE else None
    for key, address in addresses.items():
        yield _port(f"{key} {address}", found[key], daemon, has_keys=_has_keys(config))


def _has_keys(config: DaemonConfig) -> bool:
    return config.security.server_key is not None


def _port(what: str, why_not: int, daemon: str | None, *, has_keys: bool) -> Check:
    if not why_not:
        return ok(f"{what}: free")
    if why_not != errno.EADDRINUSE:
        return fail(f"{what}: {os.strerror(why_not).lower()}", "give an address of this machine")
    if daemon is not None:
        return ok(f"{what}: in use; {daemon}")
    if has_keys:
        return warn(
            f"{what}: in use, by whom cannot be asked without a client's key",
            "if it is not the daemon of this configuration, choose another port",
        )
    return fail(f"{what}: in use by another program", "stop it, or choose another port")


def _why_not(address: str) -> int:
    """The error number of listening at a ZeroMQ address; 0 for none."""
    bind = parse_bind(address)
    if address.startswith("ipc://"):
        return errno.EADDRINUSE if _answers(address.removeprefix("ipc://")) else 0
    if bind.port is None:
        return 0  # the system chooses a free one
    host = address.removeprefix("tcp://").rpartition(":")[0].strip("[]")
    family = socket.AF_INET6 if bind.ipv6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        if os.name == "posix":  # as ZeroMQ does; elsewhere it would allow what is in use
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("" if host == "*" else host, bind.port))
            probe.listen(1)
        except socket.gaierror:
            return errno.EADDRNOTAVAIL
        except OSError as error:
            return error.errno or errno.EINVAL
    return 0


def _answers(path: str) -> bool:
    """True if a program listens at a Unix socket; binding to find out would take it away."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PING_TIMEOUT_S)
        try:
            probe.connect("\0" + path[1:] if path.startswith("@") else path)
        except OSError:
            return False
    return True


def _ask(config: DaemonConfig) -> str | None:
    """Report of the daemon at the control address; None where none answers."""
    from tracker.client import BadMessage, Client, DaemonError, DaemonUnreachable

    control = config.control.bind
    for anywhere, here in (("//*", "//127.0.0.1"), ("//0.0.0.0", "//127.0.0.1"), ("[::]", "[::1]")):
        control = control.replace(anywhere, here)
    with contextlib.suppress(DaemonError, DaemonUnreachable, BadMessage):
        with Client(control, timeout_s=_PING_TIMEOUT_S) as client:
            answer = client.ping()
        return f"trackd {answer.version} answers, {'ready' if answer.ready else 'not ready yet'}"
    return None


def state_folder(config: DaemonConfig) -> Iterator[Check]:
    """True if what is kept over restarts can be written."""
    folder = config.state.dir
    if folder is None:
        yield ok("no state folder: nothing is kept over restarts (state.dir)")
        return
    nearest = _nearest(folder)
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        yield fail(f"state.dir {folder}: {nearest} cannot be written", "give it to this user")
        return
    free = shutil.disk_usage(nearest).free
    text = f"state.dir {folder}: {free / 2**30:.1f} GiB free"
    if free < _TOO_LITTLE_BYTES:
        yield fail(text, "make room on the disk")
    elif free < _LITTLE_BYTES:
        yield warn(text, "make room on the disk soon")
    else:
        yield ok(text)


def _nearest(folder: Path) -> Path:
    """The folder, or the one above it that exists."""
    return next(place for place in (folder, *folder.absolute().parents) if place.exists())


def source(url: str) -> Iterator[Check]:
    """Open a source, read some frames, and say how that went."""
    from streams import open_source

    begun_s = time.monotonic()
    with open_source(url, stream="doctor") as opened:
        open_s = time.monotonic()
        arrived_s = []
        for _ in islice(opened, _SOURCE_FRAMES):
            arrived_s.append(time.monotonic())
            if arrived_s[-1] - open_s > _SOURCE_S:
                break
        info, corrupt = opened.info, opened.stats.corrupt_packets
    spent_s = arrived_s[-1] - arrived_s[0]
    rate = f"{(len(arrived_s) - 1) / spent_s:.1f} fps" if spent_s else "one frame"
    claimed = f" claimed {float(info.fps):.4g} fps," if info.fps else ""
    pace = f"comes at {rate}" if info.live else f"can be decoded at {rate}"
    text = (
        f"{info.url}: {info.width}x{info.height},{claimed} {pace}, "
        f"first frame after {open_s - begun_s:.1f} s"
    )
    if corrupt:
        fix = "look at the network and the camera"
        yield warn(f"{text}, {corrupt} damaged packets or files skipped", fix)
    else:
        yield ok(text)
