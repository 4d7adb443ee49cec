"""Host access of sources: by the class of an address (RFC 6890), at each connection."""

import ipaddress
import re
import socket
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from streams.errors import SourceDenied, SourceUnreadable

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
SocketAddress = tuple[str, int] | tuple[str, int, int, int]

HINT = "its operator lists hosts that clients may name in security.source_hosts"
_NAME = re.compile(r"(?=.{1,253}\Z)(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
_LISTEN = "listen"


class HostClass(StrEnum):
    """Class of an address, as far as it matters to who may be reached."""

    PUBLIC = "public"
    PRIVATE = "private"
    LOOPBACK = "loopback"
    LINK_LOCAL = "link-local"
    MULTICAST = "multicast"
    RESERVED = "reserved"


_SAID = {
    HostClass.PUBLIC: "a public address",
    HostClass.PRIVATE: "a private address",
    HostClass.LOOPBACK: "an address of the daemon's own machine",
    HostClass.LINK_LOCAL: "a link-local address, or one of a cloud's own services",
    HostClass.MULTICAST: "a multicast group, or broadcast",
    HostClass.RESERVED: "a reserved address",
}
# The first that fits decides. IANA's special-purpose registries, and where clouds give out secrets.
_TABLE = {
    HostClass.LOOPBACK: "127.0.0.0/8 ::1/128 0.0.0.0/32 ::/128",  # 0.0.0.0 leads there, too
    HostClass.LINK_LOCAL: "169.254.0.0/16 fe80::/10 "
    "100.100.100.200/32 168.63.129.16/32 192.0.0.192/32 fd00:ec2::254/128 fd20:ce::254/128",
    HostClass.MULTICAST: "224.0.0.0/4 ff00::/8 255.255.255.255/32",
    HostClass.PRIVATE: "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 fc00::/7 fec0::/10",
    HostClass.RESERVED: "0.0.0.0/8 192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 198.18.0.0/15 "
    "198.51.100.0/24 203.0.113.0/24 240.0.0.0/4 2001::/23 2001:db8::/32 3fff::/20",
    HostClass.PUBLIC: "0.0.0.0/0 2000::/3",
}
_CLASSES = [
    (ipaddress.ip_network(network), kind)
    for kind, networks in _TABLE.items()
    for network in networks.split()
]
_NEAR = (HostClass.LOOPBACK, HostClass.LINK_LOCAL)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def classify(address: IPAddress) -> HostClass:
    """The class of an address by itself; one that carries an IPv4 address has the class of that."""
    address = _carried(address)
    return next((kind for network, kind in _CLASSES if address in network), HostClass.RESERVED)


def _carried(address: IPAddress) -> IPAddress:
    """The IPv4 address that an IPv6 address leads to: mapped, by NAT64 or by 6to4."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_own(address: IPAddress) -> bool:
    """True where this machine has the address: only then can a socket be bound to it."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class HostRules:
    """Rules of host access.

    Attributes:
        classes: All addresses of these classes.
        networks: And those in these networks.
        names: And the public and private addresses of hosts of these names.
        may_listen: Whether a source may open a port and wait for who sends.
    """

    classes: frozenset[HostClass]
    networks: tuple[IPNetwork, ...] = ()
    names: frozenset[str] = frozenset()
    may_listen: bool = False

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Self:
        """Read `public`, `private`, …, `listen`, networks such as `10.0.0.0/8`, and host names.

        Raises:
            ValueError: A text is none of these.
        """
        classes, networks, names, may_listen = set(), [], set(), False
        for text in texts:
            if text == _LISTEN:
                may_listen = True
            elif text in set(HostClass):
                classes.add(HostClass(text))
            elif (network := _network(text)) is not None:
                networks.append(network)
            else:
                names.add(_checked_name(text))
        return cls(frozenset(classes), tuple(networks), frozenset(names), may_listen)

    def allows(self, address: IPAddress, kind: HostClass, name: str) -> bool:
        """True where an address, of a class, that `name` stands for may be reached."""
        if kind in self.classes or any(_carried(address) in network for network in self.networks):
            return True
        return name in self.names and kind in (HostClass.PUBLIC, HostClass.PRIVATE)


ANY_HOST = HostRules(frozenset(HostClass), may_listen=True)


def _network(text: str) -> IPNetwork | None:
    if not re.fullmatch(r"[0-9A-Fa-f.:]+(?:/\d+)?", text) or not re.search(r"[.:/]", text):
        return None
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        if "/" in text or ":" in text:
            raise
        return None


def _checked_name(text: str) -> str:
    name = text.rstrip(".").lower()
    if name == "localhost":
        raise ValueError("localhost is written loopback here")
    if not _NAME.fullmatch(text) or re.fullmatch(r"[0-9.]+", text):
        known = ", ".join([*HostClass, _LISTEN])
        raise ValueError(f"{text!r} is no network and no host name, and none of {known}")
    return name


class HostAccess:
    """Looks up hosts, and connects to those only that rules allow.

    Each address that a name stands for must be allowed, and what is connected to is the address
    that was checked: there is no second look-up. The ports that this program listens on are never
    reached on this machine, whatever the rules say.
    """

    def __init__(
        self, rules: HostRules, own_ports: Callable[[], Collection[int]] = lambda: ()
    ) -> None:
        self.rules = rules
        self._own_ports = own_ports

    def connect(
        self,
        address: tuple[str, int],
        timeout: float | None = None,
        source_address: tuple[str, int] | None = None,
    ) -> socket.socket:
        """As `socket.create_connection`, to where the rules allow.

        Raises:
            SourceDenied: They do not.
            OSError: No address could be connected to.
        """
        return connected(self.resolve(*address), timeout, source_address)

    def resolve(self, host: str, port: int) -> list[SocketAddress]:
        """The addresses of a host, checked, those of IPv4 first.

        Raises:
            SourceDenied: One of them may not be reached.
            OSError: The name is not known.
        """
        try:
            found = socket.getaddrinfo(host or "?", port, type=socket.SOCK_STREAM)
        except UnicodeError:
            raise SourceUnreadable(f"not the name of a host: {host!r}", "check it") from None
        found.sort(key=lambda entry: entry[0] != socket.AF_INET)
        addresses = [_literal(entry[4]) for entry in found]
        for address in addresses:
            self._check(ipaddress.ip_address(str(address[0])), port, host)
        return addresses

    def check_literal(self, host: str, port: int) -> None:
        """Refuse a host that is an address and may not be reached; names are not looked up.

        Raises:
            SourceDenied: It may not.
        """
        try:
            found = socket.getaddrinfo(host, port, flags=socket.AI_NUMERICHOST)
        except (OSError, UnicodeError):
            return
        for entry in found:
            self._check(ipaddress.ip_address(str(_literal(entry[4])[0])), port, host)

    def check_listen(self, what: str) -> None:
        """Refuse a source that opens a port here.

        Raises:
            SourceDenied: The rules do not allow it.
        """
        if not self.rules.may_listen:
            raise SourceDenied(f"clients may not open {what}: it waits for who sends", HINT)

    def _check(self, address: IPAddress, port: int, name: str) -> None:
        kind = _kind_here(address)
        if kind is HostClass.LOOPBACK and port in self._own_ports():
            raise SourceDenied(f"port {port} here is the daemon's own", "name another source")
        if not self.rules.allows(address, kind, name.rstrip(".").lower()):
            raise SourceDenied(f"clients may not name {name}: it is {_SAID[kind]}", HINT)


class Route:
    """The hosts that one source has us reach, one after the other.

    A server elsewhere cannot have us reach this machine or a link-local host: neither by a
    redirect, nor because its name stands for something else the next time.
    """

    def __init__(self, hosts: HostAccess) -> None:
        self._hosts = hosts
        self._began_near: bool | None = None

    def connect(
        self,
        address: tuple[str, int],
        timeout: float | None = None,
        source_address: tuple[str, int] | None = None,
    ) -> socket.socket:
        """As `HostAccess.connect`.

        Raises:
            SourceDenied: It leads nearer than it began.
            OSError: No address could be connected to.
        """
        found = self._hosts.resolve(*address)
        kinds = {_kind_here(ipaddress.ip_address(str(where[0]))) for where in found}
        is_near = not kinds.isdisjoint(_NEAR)
        if self._began_near is None:
            self._began_near = is_near
        if is_near and not self._began_near:
            raise SourceDenied(
                f"a server elsewhere leads to {address[0]}, near this machine",
                "give the address that it means, if that is meant",
            )
        return connected(found, timeout, source_address)


def connected(
    found: Sequence[SocketAddress],
    timeout: float | None,
    source_address: tuple[str, int] | None = None,
) -> socket.socket:
    """A connection to the first of some addresses, all of them numbers, that answers.

    Raises:
        OSError: None does.
    """
    failure: OSError | None = None
    for where in found:
        try:
            return socket.create_connection(where[:2], timeout, source_address)
        except OSError as error:
            failure = error
    assert failure is not None
    raise failure


def _kind_here(address: IPAddress) -> HostClass:
    """The class of an address as seen from this machine, whose own addresses are all loopback."""
    kind = classify(address)
    if kind is not HostClass.MULTICAST and _is_own(_carried(address)):
        return HostClass.LOOPBACK
    return kind


def _literal(found: tuple[object, ...]) -> SocketAddress:
    """A socket address as text that names the link of a link-local one."""
    host, port = str(found[0]), int(str(found[1]))
    if len(found) == 4 and found[3] and "%" not in host:
        host = f"{host}%{found[3]}"
    return host, port
