"""Parser of ZeroMQ bind addresses."""

import ipaddress
import re
from dataclasses import dataclass

from tracker.errors import UsageError

_TCP = re.compile(r"tcp://(?P<host>\[[^\]]+\]|[^:/\[\]]+):(?P<port>\d{1,5}|\*)")
_LOCAL_SCHEMES = ("ipc://", "inproc://")


@dataclass(frozen=True, slots=True)
class Bind:
    """A checked address to listen on.

    Attributes:
        address: As ZeroMQ takes it.
        local: Only programs on this machine can reach it.
        ipv6: The socket needs its IPV6 option.
        port: Of TCP; None for the other transports and where the system chooses it.
    """

    address: str
    local: bool
    ipv6: bool = False
    port: int | None = None


def parse_bind(address: str) -> Bind:
    """Take an address apart; looks up no names.

    Raises:
        UsageError: ZeroMQ could not listen there.
    """
    if address.startswith(_LOCAL_SCHEMES) and not address.endswith("://"):
        return Bind(address, local=True)
    match = _TCP.fullmatch(address)
    if match is None or (match["port"] != "*" and int(match["port"]) > 65535):
        raise UsageError(
            f"cannot listen on {address!r}", "give tcp://HOST:PORT, such as tcp://127.0.0.1:5570"
        )
    host = match["host"].strip("[]")
    port = None if match["port"] == "*" else int(match["port"])
    return Bind(address, _is_loopback(host), ":" in host, port or None)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # "*", an interface or a name, which may be anything
