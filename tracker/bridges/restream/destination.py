"""Destinations of videos: what is typed, and what FFmpeg needs for it."""

import glob
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from streams.redaction import has_unescaped_login
from streams.sources.urls import verified_tls
from tracker.errors import UsageError

STDOUT = "-"
_PLAYLIST = ".m3u8"
_FORMATS = {"rtsp": "rtsp", "rtsps": "rtsp", "rtmp": "flv", "rtmps": "flv"}
_OPTIONS: dict[str, dict[str, str]] = {
    "rtsp": {"rtsp_transport": "tcp", "rtsp_flags": "prefer_tcp"},
    "flv": {"flvflags": "no_duration_filesize"},
    # Half a minute is kept, and what falls out of the playlist is deleted. The next connection goes
    # on where the playlist ends: a number that came again would be an old picture in a cache.
    "hls": {
        "hls_time": "2",
        "hls_list_size": "15",
        "hls_flags": "append_list+delete_segments+independent_segments+temp_file",
    },
    "mpegts": {"flush_packets": "1", "muxdelay": "0"},
}


@dataclass(frozen=True, slots=True)
class Destination:
    """Place that a video is sent to.

    Attributes:
        url: For FFmpeg; "-" for standard output. May hold a login or a key.
        format: FFmpeg's name of the container or protocol.
        shown: For people, without what may be secret.
    """

    url: str = field(repr=False)
    format: str
    shown: str

    @property
    def options(self) -> Mapping[str, str]:
        """Options of the container, and of the connection."""
        # Of RTMPS, PyAV hands FFmpeg no options of the connection.
        return _OPTIONS[self.format] | (verified_tls() if self.url.startswith("rtsps:") else {})

    def remove_leftovers(self) -> None:
        """Delete the segments that a playlist of before does not name: FFmpeg leaves one a run."""
        playlist = Path(self.url)
        if self.format != "hls" or not playlist.is_file():
            return
        with suppress(OSError):  # FFmpeg finds out, and says why
            named = set(playlist.read_text(errors="replace").splitlines())
            for segment in playlist.parent.glob(f"{glob.escape(playlist.stem)}[0-9]*.ts"):
                number = segment.stem.removeprefix(playlist.stem)
                if number.isdecimal() and segment.name not in named:
                    segment.unlink(missing_ok=True)


def parse_destination(text: str) -> Destination:
    """The destination that an address means.

    Raises:
        UsageError: It is none. The error does not hold it: a misspelt address is a secret too.
    """
    if text == STDOUT:
        return Destination(STDOUT, "mpegts", "standard output")
    scheme, mark, rest = text.partition("://")
    if not mark:
        return _playlist(text)
    if scheme == "srt":
        raise UsageError(
            "--to srt: the FFmpeg of PyAV has no SRT",
            "pipe it: trackd restream STREAM --to - | ffmpeg -i - -c copy -f mpegts srt://HOST:PORT",
        )
    if scheme not in _FORMATS:
        known = ", ".join(f"{one}://" for one in _FORMATS)
        named = f" {scheme}://" if scheme.isalpha() else ""
        raise UsageError(
            f"--to{named}: not a kind of address that is sent to",
            f"give {known}, a path that ends in {_PLAYLIST}, or -",
        )
    if has_unescaped_login(rest):
        raise UsageError(
            "--to: the login holds a character that ends the host",
            "write / as %2F, ? as %3F, # as %23",
        )
    return Destination(text, _FORMATS[scheme], _shown(text))


def _playlist(text: str) -> Destination:
    path = Path(text)
    if path.suffix != _PLAYLIST:
        raise UsageError(
            "--to: neither an address with :// nor a playlist", f"name it NAME{_PLAYLIST}"
        )
    if not path.parent.is_dir():
        raise UsageError(f"--to: there is no folder for {path.name}", "make it")
    # Absolute and without `file:`: FFmpeg deletes segments of plain paths alone.
    return Destination(str(path.absolute()), "hls", text)


def _shown(url: str) -> str:
    """Scheme, host and port: logins, paths and queries are often the key to publish."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise UsageError("--to: the address has no host, or no number as port", "check it")
    named = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{named}{'' if port is None else f':{port}'}/***"
