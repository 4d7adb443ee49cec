"""Which hosts a source may reach: classes of addresses, names, and what is connected to."""

import ipaddress
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams import SourceDenied, StreamError
from streams.access.hosts import ANY_HOST, HostAccess, HostClass, HostRules, classify

CAMERAS = HostRules.parse(["public", "private"])
HERE = "it is an address of the daemon's own machine"
LINK = "it is a link-local address"
RESERVED = "it is a reserved address"
GROUP = "it is a multicast group"

# Spellings: RFC 3986 (7.4), RFC 4291 (2.2, 2.5), and the IPv4 parser of the WHATWG URL standard.
# Purposes: RFC 6890 and the registries that it began; RFC 6052 (NAT64), RFC 3056 (6to4).
REFUSED = [
    ("127.0.0.1", HERE),
    ("127.255.255.254", HERE),
    ("2130706433", HERE),
    ("0x7f000001", HERE),
    ("0X7F.1", HERE),
    ("017700000001", HERE),
    ("0177.0.0.01", HERE),
    ("127.1", HERE),
    ("127.0.1", HERE),
    ("0", HERE),
    ("0.0.0.0", HERE),
    ("localhost", HERE),
    ("LOCALHOST", HERE),
    ("::1", HERE),
    ("0:0:0:0:0:0:0:1", HERE),
    ("::", HERE),
    ("::ffff:127.0.0.1", HERE),
    ("::ffff:7f00:1", HERE),
    ("64:ff9b::127.0.0.1", HERE),
    ("2002:7f00:1::", HERE),
    ("169.254.169.254", LINK),
    ("2852039166", LINK),
    ("0xa9fea9fe", LINK),
    ("0251.0376.0251.0376", LINK),
    ("::ffff:169.254.169.254", LINK),
    ("64:ff9b::a9fe:a9fe", LINK),
    ("fe80::1", LINK),
    ("100.100.100.200", LINK),
    ("fd00:ec2::254", LINK),
    ("168.63.129.16", LINK),
    ("224.0.0.1", GROUP),
    ("239.255.255.250", GROUP),
    ("ff02::1", GROUP),
    ("0.1.2.3", RESERVED),
    ("192.0.0.8", RESERVED),
    ("192.0.2.1", RESERVED),
    ("198.18.0.1", RESERVED),
    ("198.51.100.7", RESERVED),
    ("203.0.113.9", RESERVED),
    ("240.0.0.1", RESERVED),
    ("255.255.255.255", GROUP),
    ("::127.0.0.1", RESERVED),
    ("::ffff:0:127.0.0.1", RESERVED),
    ("2001::1", RESERVED),
    ("2001:db8::1", RESERVED),
    ("100::1", RESERVED),
    ("64:ff9b:1::7f00:1", RESERVED),
]
REACHED = ["8.8.8.8", "134744072", "10.1.2.3", "172.31.0.1", "192.168.1.20", "100.64.0.1"]
REACHED += ["2606:4700::1111", "fd12:3456::1", "::ffff:8.8.8.8", "172.32.0.1", "11.0.0.1"]


@pytest.mark.parametrize(("host", "said"), REFUSED)
def test_cameras_are_not_on_this_machine_nor_nowhere(host: str, said: str) -> None:
    access = HostAccess(CAMERAS)
    try:
        access.resolve(host, 554)
    except SourceDenied as error:
        assert said in error.message
        assert "security.source_hosts" in error.hint
    except OSError:
        pytest.skip("this system does not resolve it at all")
    else:
        pytest.fail("it may be reached")


@pytest.mark.parametrize("host", REACHED)
def test_cameras_are_on_public_and_private_networks(host: str) -> None:
    ((address, port, *_),) = HostAccess(CAMERAS).resolve(host, 554)
    assert port == 554
    assert ipaddress.ip_address(address) is not None  # a number: nothing is left to look up


@given(st.ip_addresses())
def test_what_is_called_public_is_globally_reachable(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """By the table of Python's own `ipaddress`."""
    if classify(address) is HostClass.PUBLIC:
        assert address.is_global


Resolver = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[list[str]]]]:
    """What names stand for: an answer per look-up, the last one for good; numbers as always."""
    answers: dict[str, list[list[str]]] = {}
    real: Resolver = socket.getaddrinfo

    def looked_up(host: str, port: int, *args: Any, **more: Any) -> list[tuple[Any, ...]]:
        if host not in answers:
            return real(host, port, *args, **more)
        if more.get("flags", 0) & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "a name")
        now = answers[host].pop(0) if len(answers[host]) > 1 else answers[host][0]
        return [entry for ip in now for entry in real(ip, port, *args, **more)]

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    yield answers


def test_every_address_of_a_name_is_judged(names: dict[str, list[list[str]]]) -> None:
    names["cam.example"] = [["10.0.0.5", "127.0.0.1"]]
    with pytest.raises(SourceDenied, match=r"clients may not name cam\.example: .* own machine"):
        HostAccess(CAMERAS).resolve("cam.example", 554)


def test_a_name_is_looked_up_once_and_its_checked_address_connected_to(
    names: dict[str, list[list[str]]],
) -> None:
    names["cam.example"] = [["127.0.0.2"], ["127.0.0.1"]]  # rebinding
    access = HostAccess(HostRules.parse(["127.0.0.2/32"]))
    with (
        socket.create_server(("127.0.0.2", 0)) as meant,
        access.connect(("cam.example", meant.getsockname()[1]), 5) as connection,
    ):
        assert connection.getpeername() == meant.getsockname()
        assert names["cam.example"] == [["127.0.0.1"]]


def test_a_listed_name_stands_for_cameras_only(names: dict[str, list[list[str]]]) -> None:
    access = HostAccess(HostRules.parse(["cam.example"]))
    names["cam.example"], names["other.example"] = [["10.0.0.5"]], [["10.0.0.5"]]
    assert access.resolve("cam.example", 554)[0][0] == "10.0.0.5"
    with pytest.raises(SourceDenied):
        access.resolve("other.example", 554)
    names["cam.example"] = [["127.0.0.1"]]
    with pytest.raises(SourceDenied):
        access.resolve("cam.example", 554)


def test_the_other_addresses_of_this_machine_are_loopback_too() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no network")
        own = probe.getsockname()[0]
    if own.startswith("127."):
        pytest.skip("this machine has no network")
    with pytest.raises(SourceDenied, match="own machine"):
        HostAccess(CAMERAS).resolve(own, 554)
    with pytest.raises(SourceDenied, match="port 5570 here is the daemon's own"):
        HostAccess(ANY_HOST, lambda: {5570}).resolve(own, 5570)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.9.9.9", "localhost", "0", "::1", "::ffff:7f00:1"]
)
def test_own_ports_are_never_reached(host: str) -> None:
    access = HostAccess(ANY_HOST, lambda: {5570})
    with pytest.raises(SourceDenied, match="port 5570 here is the daemon's own"):
        access.resolve(host, 5570)
    assert access.resolve(host, 5571)
    assert access.resolve("10.1.2.3", 5570)


@pytest.mark.parametrize(
    ("listed", "reached", "refused"),
    [
        ("loopback", "127.0.0.1", "10.0.0.5"),
        ("link-local", "169.254.1.1", "10.0.0.5"),
        ("10.1.0.0/16", "10.1.255.1", "10.2.0.1"),
        ("10.1.0.0/16", "::ffff:10.1.2.3", "::ffff:10.2.2.3"),
        ("192.168.1.20", "192.168.1.20", "192.168.1.21"),
        ("fd00::/8", "fd00::1", "fc00::1"),
        ("private", "10.0.0.5", "8.8.8.8"),
    ],
)
def test_what_is_listed_is_reached(listed: str, reached: str, refused: str) -> None:
    access = HostAccess(HostRules.parse([listed]))
    assert access.resolve(reached, 554)
    with pytest.raises(StreamError):
        access.resolve(refused, 554)


@pytest.mark.parametrize(
    "text",
    ["10.0.0.1/8", "10.0.0.0/33", "300.1.1.1", "2130706433", "-x", "a b", "localhost"],
)
def test_what_is_no_host_is_not_listed(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        HostRules.parse([text])
