"""A request to a camera over HTTP: with a deadline, a login, few redirects and a checked TLS."""

import http.client
import io
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from streams.access.hosts import ANY_HOST, HostAccess, Route
from streams.errors import SourceDenied, SourceNotFound, SourceUnreadable, StreamError
from streams.net.http_auth import Login
from streams.net.patience import Patience, PatientReader
from streams.sources.base import Address

Connect = Callable[..., socket.socket]

_MAX_HOPS = 5
_USER_AGENT = "trackd"
_DENIED, _MISSING = (401, 403, 407), (404, 410)


class HttpClient:
    """Fetches what is at one address.

    Attributes:
        address: Of scheme http or https; its login goes to its own host only.
        patience: Bounds every wait for the network; the look-up of the name, the system does.
        url: What is asked for: the address without its login.
    """

    def __init__(
        self, address: Address, patience: Patience, hosts: HostAccess | None = None
    ) -> None:
        """Prepare.

        Args:
            address: Of scheme http or https.
            patience: For all that it does.
            hosts: Which may be reached, by redirects too, and never by a proxy; None for any.
        """
        self.address = address
        self.patience = patience
        # A proxy may be near where its hosts are not.
        self._proxies = urllib.request.getproxies() if hosts is None else {}
        self._connect: Connect = socket.create_connection
        if not self._proxies.keys() - {"no"}:
            self._connect = Route(hosts or HostAccess(ANY_HOST)).connect
        url = urlsplit(address.location)
        self._login: Login | None = None
        if url.username or url.password:
            self._login = Login(unquote(url.username or ""), unquote(url.password or ""))
        bare = url._replace(netloc=url.netloc.rpartition("@")[2], fragment="")
        self.url = _encoded(bare.geturl())

    def get(self, headers: dict[str, str] | None = None) -> http.client.HTTPResponse:
        """Ask for it and return the response, its body unread.

        Args:
            headers: To be sent, too.

        Raises:
            StreamError: The server refuses.
            OSError: It cannot be reached, or did not answer in time.
        """
        request = urllib.request.Request(self.url, headers=self._headers() | (headers or {}))
        try:
            response: http.client.HTTPResponse = self._opener().open(request)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 304:
                raise NotModified from None
            refusal, error.msg = _refused(error, self.address), ""  # it may reveal an address
            raise refusal from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                raise _untrusted(error.reason, self.address) from error.reason
            if isinstance(error.reason, OSError):
                raise error.reason from None
            raise SourceUnreadable(f"cannot read {self.address.shown}", "check the path") from None
        except (http.client.HTTPException, ValueError) as error:
            raise SourceUnreadable(
                f"no HTTP answer from {self.address.shown}: {type(error).__name__}",
                "check the port and the scheme",
            ) from None
        return response

    def _headers(self) -> dict[str, str]:
        user_agent = self.address.settings.user_agent or _USER_AGENT
        return {"User-Agent": user_agent, "Accept": "*/*", "Accept-Encoding": "identity"}

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """Reading the certificates of the system takes longer than many a request."""
        context = ssl.create_default_context()
        if self.address.settings.tls_verify is False:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context

    def _opener(self) -> urllib.request.OpenerDirector:
        opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(self._proxies),
            _HttpHandler(self.patience, self._connect),
            _HttpsHandler(self.patience, self._connect, self._tls),
            _LoginHandler(self._login, self.url),
            _RedirectHandler(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            urllib.request.UnknownHandler(),
        ):
            opener.add_handler(handler)
        return opener


class NotModified(Exception):  # noqa: N818 - an outcome
    """The answer to a conditional request: it is what it was."""


def _encoded(url: str) -> str:
    """The URL with what must not be sent as it is (spaces, other alphabets) percent-encoded."""
    return quote(url, safe="%/:=&?~#+!$,;'@()*[]|^`{}\\\"<>")


def _refused(error: urllib.error.HTTPError, address: Address) -> StreamError:
    shown = address.shown
    if error.code in _DENIED:
        hint = "check the user and the password"
        if "@" not in address.location:
            hint = "give a login: http://user:password@host/…"
        return SourceDenied(f"access denied: {shown}", hint)
    if error.code in _MISSING:
        return SourceNotFound(f"the server has nothing at {shown}", "check the path")
    if 300 <= error.code < 400:
        if error.msg.startswith(_RedirectHandler.inf_msg):
            return SourceUnreadable(f"{shown} redirects again and again", "check the path")
        hint = "give the address that it means"
        return SourceUnreadable(f"{shown} redirects to something else than http", hint)
    reason = http.client.responses.get(error.code, "")
    text = f"the server answered {error.code} {reason}".rstrip()
    return SourceUnreadable(f"{text}: {shown}", "check the path, or try again later")


def _untrusted(error: ssl.SSLCertVerificationError, address: Address) -> SourceUnreadable:
    return SourceUnreadable(
        f"the certificate of {address.shown} is not trusted: {error.verify_message}",
        "set SSL_CERT_FILE, or source option tls_verify=false if you trust the network",
    )


class _PatientSocket:
    """The part of a socket that `http.client` needs; the reader owns the real one once made."""

    def __init__(self, sock: socket.socket, patience: Patience) -> None:
        self._sock = sock
        self._patience = patience
        self._is_read = False

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(self._patience.left_s())
        self._sock.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        self._is_read = True
        return io.BufferedReader(PatientReader(self._sock, self._patience), 1 << 16)

    def close(self) -> None:
        if not self._is_read:
            self._sock.close()


class PatientConnection(http.client.HTTPConnection):
    """A connection whose every step is within a patience."""

    def __init__(self, host: str, *, patience: Patience, connect: Connect, **more: Any) -> None:
        super().__init__(host, **more)
        self._patience = patience
        self._create_connection = connect

    def connect(self) -> None:
        """Connect, within the patience."""
        self.timeout = self._patience.left_s()
        super().connect()
        self.sock: Any = _PatientSocket(self.sock, self._patience)


class PatientTlsConnection(PatientConnection, http.client.HTTPSConnection):
    """The same over TLS."""


class _HttpHandler(urllib.request.HTTPHandler):
    def __init__(self, patience: Patience, connect: Connect) -> None:
        super().__init__()
        self._connection: Any = partial(PatientConnection, patience=patience, connect=connect)

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connection, request)


class _HttpsHandler(urllib.request.HTTPSHandler):
    def __init__(self, patience: Patience, connect: Connect, context: ssl.SSLContext) -> None:
        super().__init__()
        self._connection: Any = partial(
            PatientTlsConnection, patience=patience, connect=connect, context=context
        )

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connection, request)


class _LoginHandler(urllib.request.BaseHandler):
    """Answers a challenge once, to the host that the login is for and never without its TLS."""

    def __init__(self, login: Login | None, url: str) -> None:
        self._login = login
        self._url = urlsplit(url)

    def http_error_401(
        self, request: urllib.request.Request, body: Any, code: int, message: str, headers: Any
    ) -> Any:
        """Ask again with the login; None where there is none, or it was sent already."""
        url = urlsplit(request.full_url)
        is_own = url.hostname == self._url.hostname and (
            url.scheme == "https" or (self._url.scheme == "http" and url.port == self._url.port)
        )
        if self._login is None or not is_own or request.has_header("Authorization"):
            return None
        challenges = headers.get_all("WWW-Authenticate") or []
        answer = self._login.answer(challenges, request.get_method(), request.selector)
        if answer is None:
            return None
        body.close()
        request.add_unredirected_header("Authorization", answer)
        return self.parent.open(request)


class _RedirectHandler(urllib.request.HTTPRedirectHandler):
    """Follows few redirects, within http and https; the login is not among what it sends on."""

    max_redirections = _MAX_HOPS

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        fp.close()  # else its body would be read to the end
        if urlsplit(newurl).scheme not in ("http", "https"):
            return None
        return urllib.request.Request(_encoded(newurl), headers=req.headers)
