"""Source policy: sources for those who are trusted less than whoever runs the program."""

import ipaddress
import os
import re
import stat
from dataclasses import dataclass, replace
from pathlib import Path

from streams.access.files import HINT as FILES_HINT
from streams.access.files import FileAccess
from streams.access.hosts import ANY_HOST, HostAccess
from streams.errors import SourceDenied
from streams.sources.base import Address, SourceKind
from streams.sources.urls import host_and_port, with_host

_VIDEO4LINUX = 81  # the major number of its devices
_LISTENS = re.compile(r"[?&]listen\b")
_DATAGRAMS = ("udp", "rtp")
_VERIFIES = ("rtsps", "rtmps")


@dataclass(frozen=True, slots=True)
class SourcePolicy:
    """Files and hosts that sources may open.

    Attributes:
        files: The files.
        hosts: The hosts, also those that redirects and playlists lead to.
    """

    files: FileAccess
    hosts: HostAccess

    def check(self, address: Address) -> None:
        """Refuse what can be judged without waiting for a disk or a name server.

        Raises:
            SourceDenied: It will not be opened.
        """
        if address.kind is SourceKind.PATH and self.files.allows_none:
            raise SourceDenied(f"clients may not name files: {address.shown}", FILES_HINT)
        if address.kind is SourceKind.NETWORK:
            self._check_listens(address)
            host, port = host_and_port(address)
            self.hosts.check_literal(host, port)

    def for_ffmpeg(self, address: Address) -> Address:
        """The address with nothing left to look up: FFmpeg is to reach what was checked.

        Where all hosts may be reached it stays: some servers go by the name that they are asked by.

        Raises:
            SourceDenied: It may not be opened.
            OSError: The name of the host is not known.
        """
        if address.kind is SourceKind.CAMERA:
            return _camera(address)
        if address.kind is not SourceKind.NETWORK:
            return address
        self._check_listens(address)
        host, port = host_and_port(address)
        if not host:
            return address
        literal = str(self.hosts.resolve(host, port)[0][0])
        if self.hosts.rules == ANY_HOST:
            return address
        options = dict(address.options)
        if address.scheme in _VERIFIES and "tls_verify" in options:
            options["verifyhost"] = host
        return replace(with_host(address, literal), options=options)

    def _check_listens(self, address: Address) -> None:
        host, _ = host_and_port(address)
        group = address.scheme in _DATAGRAMS and _is_group(host)
        listens = address.scheme == "tcp" and _LISTENS.search(address.location)
        if listens or (address.scheme in _DATAGRAMS and not group):
            self.hosts.check_listen(f"{address.scheme}:// ports here")
        if address.options.get("rtsp_transport") == "udp":
            self.hosts.check_listen("RTSP over UDP")


def _is_group(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_multicast
    except ValueError:
        return False


def _camera(address: Address) -> Address:
    """A camera of this machine, and no other device; on Linux, where they are paths.

    Raises:
        SourceDenied: It is something else.
    """
    if address.format != "v4l2":
        return address
    real = Path(address.location).resolve()
    status = real.stat()
    if not stat.S_ISCHR(status.st_mode) or os.major(status.st_rdev) != _VIDEO4LINUX:
        raise SourceDenied(f"no camera: {address.shown}", "name a device such as /dev/video0")
    return replace(address, location=str(real))
