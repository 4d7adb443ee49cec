"""Redaction of source addresses: what of an address may be shown, logged or sent back.

Shown are scheme, host, port and the parts of the path that look harmless. Logins, queries,
fragments and path segments that may hold a password or a token become `***`.
"""

import re
from urllib.parse import unquote

HIDDEN = "***"
_NAME_LOGINS = frozenset(
    {"user", "usr", "username", "userid", "uid", "login", "loginuse", "account", "acct"}
)
_NAMES = _NAME_LOGINS | frozenset(
    {"password", "passwd", "passwort", "pass", "pwd", "psw", "psd", "pw", "loginpas", "pin"}
    | {"token", "key", "apikey", "auth", "authorization", "secret", "session", "sessionid", "sid"}
    | {"jwt", "code", "sig", "signature", "hash", "cred", "credential", "credentials"}
)
_LOGINS = frozenset(
    {"admin", "administrator", "root", "guest", "viewer", "operator", "supervisor", "ubnt"}
)
_NAME_STARTS = ("password", "passwd", "passwort", "username", "token", "secret", "apikey")
_KNOWN_WORDS = re.compile(
    r"h\.?26[45]|hevc|avc|mpeg4?|mp4|m3u8|mjpe?g|jpe?g|stream(?:ing)?|channels?|cam(?:era)?|ch|main"
    r"|sub|live|media|profile|video|audio|onvif|unicast|multicast|track|\d{3,4}[pi]|[\d]+x[\d]+",
    re.IGNORECASE,
)
_PORTAL = re.compile(
    r"(?P<before>.*)/(?P<user>[^/]+)/(?P<password>[^/]+)/(?P<number>\d+(?:\.\w{2,4})?)"
)
_CLASSES = re.compile(r"[A-Z][a-z]+|[A-Z]+|[a-z]+|\d+")
_GROUPS = re.compile(r"[a-z0-9]{4,12}(?:-[a-z0-9]{4,12}){2,}", re.IGNORECASE)
_LONG_RUN, _LONGEST_RUN, _WORD = 10, 24, 4  # characters: a token has, a word has not

_SCHEME = re.compile(r"\s*[\"'<]*([A-Za-z][A-Za-z0-9+.-]+)://(.*)", re.DOTALL)
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_IPV4 = r"\d{1,3}(?:\.\d{1,3}){3}"
_HOST_PORT = re.compile(r"(?:[\w.~-]*|\[[0-9A-Fa-f:.]+(?:%[\w.~-]+)?\])(?::\d{0,5})?")
_CERTAIN_HOST = re.compile(rf"(?:{_IPV4}|localhost|\[[^\]]*\])(?::\d{{1,5}})?", re.IGNORECASE)
_DOTTED_NAME = re.compile(r"[\w-]+(?:\.[\w-]+)+")
_NETWORK_NAMES = "rtsps?|https?|rtmps?|rtp|udp|tcp|srt"
_MISSPELT = re.compile(
    rf"\s*[\"'<]+(?:{_NETWORK_NAMES})\b"  # a quote that was copied along
    rf"|\s+(?:{_NETWORK_NAMES})\b:/"
    rf"|(?:{_NETWORK_NAMES})(?::/|//)"  # one / or the : is missing
    rf"|.*\b(?:{_NETWORK_NAMES}):/.*@"
    r"|//.*@"
    r"|[^/:]+:.*@"  # user:password@host
    rf"|[^/]*@{_IPV4}"
    rf"|{_IPV4}(?:[:/?]|$)"
    r"|[\w.-]+:\d{1,5}[/?]"
    r"|[\w-]+(?:\.[\w-]+)+/[^?]*\?.*=",
    re.IGNORECASE | re.DOTALL,
)
_UNREDACTED_SCHEMES = ("ipc", "inproc", "file", "lavfi")
_URL = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]+://"
    # A password with spaces in it, but not a port followed by other text with an @ in it.
    r"(?:[^\s/@:]*:(?!\d*(?:[/\s]|$))[^@\n]{0,256}@)?"
    r"\S*"
)
_BARE_LOGIN = re.compile(r"(?<![\w/:.@*+-])[\w.+-]+:[^\s@/]+@(?=[\w.\[])")
_PUNCTUATION = re.compile(r"[:;,.'\")\]>]*$")


def looks_like_address(text: str) -> bool:
    """True where a text without `scheme://` is rather a misspelt address than a path.

    A path that looks like one can be written `./PATH` or from the root.
    """
    if _DRIVE.match(text) or text.startswith(("./", "../", "~", "file:")):
        return False
    return _MISSPELT.match(text) is not None


def redact(url: str) -> str:
    """Return an address for people; a path comes back as it is, unless it looks like an address."""
    found = _SCHEME.match(url)
    if found and found[1].lower() in _UNREDACTED_SCHEMES:
        return url
    if found:
        return f"{found[1].lower()}://{_shown_rest(found[2])}"
    if url[:7].lower() == "webcam:":
        return f"webcam:{HIDDEN}" if re.search(r"[@=?]|//", url) else url
    if url[:6].lower() == "lavfi:":
        return f"lavfi:{HIDDEN}" if re.search(r"@|//", url) else url
    if looks_like_address(url):
        return _shown_rest(url.strip(" \t\"'<>").lstrip("/"))
    return url


def redact_text(text: str) -> str:
    """Return `text` with every address in it redacted."""
    return _BARE_LOGIN.sub(f"{HIDDEN}@", _URL.sub(_redacted_match, text))


def has_unescaped_login(rest: str) -> bool:
    """True where the login after `scheme://` holds a `/`, `?` or `#`, which ends the host."""
    authority, after = _split_authority(rest)
    if "@" not in after:
        return False
    login, _, host = authority.rpartition("@")
    if _CERTAIN_HOST.fullmatch(host):
        return False
    path = re.split(r"[?#]", after, maxsplit=1)[0]
    return not (_DOTTED_NAME.fullmatch(host) and path and (login or "@" not in path))


def _redacted_match(match: re.Match[str]) -> str:
    kept = _PUNCTUATION.search(match[0])
    end = match[0][kept.start() :] if kept else ""
    return redact(match[0][: len(match[0]) - len(end)]) + end


def _split_authority(rest: str) -> tuple[str, str]:
    found = re.search(r"[/?#\\]", rest)
    return (rest, "") if found is None else (rest[: found.start()], rest[found.start() :])


def _shown_rest(rest: str) -> str:
    """The part after the scheme, redacted."""
    authority, after = _split_authority(rest)
    if has_unescaped_login(rest):
        login, _, host_and_after = rest.rpartition("@")
        host, after = _split_authority(host_and_after)
    else:
        login, _, host = authority.rpartition("@")
    if not _HOST_PORT.fullmatch(host):
        return HIDDEN
    at = f"{HIDDEN}@" if login else "@" if rest.startswith("@") else ""  # udp://@GROUP has none
    path, mark, hidden = (*re.split(r"([?#])", after, maxsplit=1), "", "")[:3]
    return f"{at}{host}{_shown_path(path)}" + (f"{mark}{HIDDEN}" if hidden else "")


def _shown_path(path: str) -> str:
    shown, to_hide = [], 0
    for segment in _without_portal_login(path).split("/"):
        plain = _decoded(segment)
        name = plain.lower()
        hidden = bool(segment) and (to_hide > 0 or (name not in _NAMES and _may_hold_secret(plain)))
        shown.append(_hidden_segment(plain) if hidden else segment)
        if segment:
            to_hide = max(to_hide - 1, _secrets_after(name))
    return "/".join(shown)


def _without_portal_login(path: str) -> str:
    """The path; of `/USER/PASSWORD/NUMBER`, as IPTV portals have it, without the first two."""
    found = _PORTAL.fullmatch(path)
    if found and not any(_KNOWN_WORDS.fullmatch(found[part]) for part in ("user", "password")):
        return f"{found['before']}/{HIDDEN}/{HIDDEN}/{found['number']}"
    return path


def _secrets_after(name: str) -> int:
    """The number of segments after one of this name that may hold a login."""
    if name in _NAMES:
        return 2 if name in _NAME_LOGINS else 1
    return 1 if _words(name) & _LOGINS and not re.search(r"[:=@&]", name) else 0


def _hidden_segment(plain: str) -> str:
    name, equals, _ = plain.partition("=")
    return f"{name}={HIDDEN}" if equals and name.lower() in _NAMES else HIDDEN


def _decoded(segment: str) -> str:
    for _ in range(3):  # an encoded % may hide another one
        segment, before = unquote(segment), segment
        if segment == before:
            break
    return segment


def _words(name: str) -> set[str]:
    return set(re.split(r"[^a-z]+", name))


def _may_hold_secret(plain: str) -> bool:
    name = plain.lower()
    if re.search(r"[:=@&;?#/\\\s%]", plain) and plain != HIDDEN:
        return True
    if _words(name) & (_NAMES | _LOGINS) or name.startswith(_NAME_STARTS):
        return True
    return _looks_random(plain)


def _looks_random(plain: str) -> bool:
    """True where a segment is rather a token (hex, base64, stream key) than a name."""
    if _GROUPS.fullmatch(plain) and any(character.isdigit() for character in plain):
        return True
    for run in re.findall(r"[A-Za-z0-9+]+", _KNOWN_WORDS.sub(" ", plain)):
        if len(run) >= _LONGEST_RUN:
            return True
        if len(run) >= _LONG_RUN and len(run) < _WORD * len(_CLASSES.findall(run)):
            return True
    return False
