"""Addresses of the network: `scheme://login@host:port/path`, and the rules of each scheme."""

import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from streams.access.formats import SELF_CONTAINED
from streams.errors import SourceUsageError
from streams.options import SourceOptions
from streams.redaction import has_unescaped_login, redact
from streams.sources.base import (
    Address,
    OpenOptions,
    Scheme,
    Source,
    SourceKind,
    check_controls,
    check_options,
    probe_options,
)

_HOST_PORT = re.compile(
    r"(?:\[(?P<literal>[0-9A-Fa-f:.]+(?:%25|%)?[\w.~-]*)\]|(?P<name>[\w.~-]*))(?::(?P<port>[0-9]{0,5}))?"
)
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class UrlRules:
    """Rules by which FFmpeg opens the addresses of a scheme.

    Attributes:
        name: The scheme, in lower case.
        takes: Names of the source options that mean something for it.
        protocols: The protocols that FFmpeg may use for it, and for what it refers to.
        port: Where its servers listen; 0 for no usual place.
        format: FFmpeg's input format; None to detect it.
        options: Further options of FFmpeg.
        formats: The formats that FFmpeg may find in it.
        verifies: Certificates must be trusted unless the options say otherwise.
        no_video_hint: What to do where there is no video to be read; "" for the usual.
    """

    name: str
    takes: frozenset[str]
    protocols: str
    port: int = 0
    format: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    formats: str = SELF_CONTAINED
    verifies: bool = False
    no_video_hint: str = ""


def url_scheme(
    rules: UrlRules, open_url: Callable[[Address, OpenOptions], Source], example: str = ""
) -> Scheme:
    """The registry row of a scheme of the network."""
    claims, parse = partial(_has_scheme, rules.name), partial(_parse, rules)
    return Scheme(SourceKind.NETWORK, example, claims, parse, open_url)


def scheme_of(url: str) -> str:
    """The scheme before `://`, in lower case; "" where an address does not begin so."""
    found = _URL.match(url)
    return found[1].lower() if found else ""


def _has_scheme(name: str, url: str) -> bool:
    return scheme_of(url) == name


def _parse(rules: UrlRules, url: str, settings: SourceOptions, platform: str) -> Address:
    rest, shown = url.partition("://")[2], redact(url)
    check_controls(rest, f"{rules.name}://")
    _check_login(rest, shown)
    check_options(settings, f"{rules.name}://", rules.takes)
    options = dict(rules.options) | probe_options(settings) | _wire_options(rules, settings)
    address = Address(
        SourceKind.NETWORK,
        shown,
        f"{rules.name}://{rest}",
        rules.format,
        options,
        rules.name,
        rules.protocols,
        rules.formats,
        settings,
        rules.port,
    )
    return replace(address, no_video_hint=rules.no_video_hint or address.no_video_hint)


def _check_login(rest: str, shown: str) -> None:
    """Refuse what would be sent to another host than the one that is meant."""
    if has_unescaped_login(rest):
        raise SourceUsageError(
            f"cannot tell where the login ends and the host begins: {shown}",
            "in a user name or password write / as %2F, ? as %3F, # as %23, @ as %40, "
            "and @ in a path as %40, too",
        )
    _, host, _ = _taken_apart(rest)
    port = _HOST_PORT.fullmatch(host)
    if port is None or int(port["port"] or 0) > _MAX_PORT or not _is_url(rest):
        raise SourceUsageError(
            f"not a host and a port: {shown}", "write rtsp://user:password@host:port/path"
        )


def _is_url(rest: str) -> bool:
    """True where Python takes what follows `scheme://` apart; its error would show the login."""
    try:
        urlsplit(f"//{rest}")
    except ValueError:
        return False
    return True


def _taken_apart(rest: str) -> tuple[str, str, str]:
    """Of what follows `scheme://`: the login with its @, host and port, and what comes after."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    login, at, host = authority.rpartition("@")
    return login + at, host, rest[len(authority) :]


def host_and_port(address: Address) -> tuple[str, int]:
    """The host of a network address and its port; 0 where none is usual."""
    _, host, _ = _taken_apart(address.location.partition("://")[2])
    found = _HOST_PORT.fullmatch(host)
    assert found is not None, "it was checked when it was parsed"
    name = (found["literal"] or "").replace("%25", "%") or found["name"] or ""
    return name, int(found["port"] or address.port)


def with_host(address: Address, host: str) -> Address:
    """A network address with another host, at the same port."""
    login, _, after = _taken_apart(address.location.partition("://")[2])
    _, port = host_and_port(address)
    place = f"[{host}]" if ":" in host else host
    return replace(address, location=f"{address.scheme}://{login}{place}:{port}{after}")


def _wire_options(rules: UrlRules, settings: SourceOptions) -> dict[str, str]:
    """FFmpeg's options for how a server is spoken to."""
    options = {}
    if "rtsp_transport" in rules.takes:
        # With "auto" the second attempt is the opener's.
        options["rtsp_transport"] = "udp" if settings.rtsp_transport == "udp" else "tcp"
    if settings.user_agent is not None:
        options["user_agent"] = settings.user_agent
    if settings.tls_verify or (rules.verifies and settings.tls_verify is None):
        options |= verified_tls()
    return options


def verified_tls() -> dict[str, str]:
    """FFmpeg's options to speak only to who has a certificate that this machine trusts."""
    trusted = _trusted_certificates()
    return {"tls_verify": "1"} | ({} if trusted is None else {"ca_file": trusted})


def _trusted_certificates() -> str | None:
    """The file of certificates that this machine trusts; None where it has none in one file."""
    paths = ssl.get_default_verify_paths()
    candidates = (Path(paths.cafile or ""), Path(paths.capath or "") / "ca-certificates.crt")
    return next((str(path) for path in candidates if path.is_file()), None)
