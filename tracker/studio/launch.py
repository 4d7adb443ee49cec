"""Starting the studio: a daemon where none answers, the sources, the web server, the browser."""

import re
import signal
import socket
import ssl
import subprocess
import sys
import time
import webbrowser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import uvicorn

from streams.address import local_path, redact
from tracker.client import AsyncClient, Client
from tracker.client.reach import why_unreachable
from tracker.client.sockets import endpoints
from tracker.errors import TrackdError, UsageError
from tracker.project.library import Library, default_projects
from tracker.project.uploads import MAX_BYTES, Uploads
from tracker.studio.access import ANNOTATE, Access
from tracker.studio.app import studio_app
from tracker.studio.projects import ProjectPages
from tracker.studio.server import server_config

_START_S = 120.0
_STOP_S = 15.0
_MAX_PASSWORD_BYTES = 1024
_LEAST_PASSWORD = 12


@dataclass(frozen=True, kw_only=True)
class Launch:
    """Settings that the studio is started with.

    Attributes:
        sources: Added as streams.
        control: Of the daemon, as in `Client`; so are the next four.
        host: Address to listen on.
        port: Of the page; 0 takes any.
        names: Names and addresses by which browsers know this machine.
        tls_cert: Certificate chain, PEM; needed off loopback, as are the next two.
        password_file: Holds the password that people type.
        opens_browser: Whether a browser is opened.
        folders: Whose files may be annotated.
        projects: Folder of the projects; None for that of this user.
        max_upload_bytes: Of a file that is dropped on the page.
    """

    sources: tuple[str, ...] = ()
    control: str | None = None
    data: str | None = None
    timeout_s: float | None = None
    client_key: Path | None = None
    server_key: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8570
    names: tuple[str, ...] = ()
    tls_cert: Path | None = None
    tls_key: Path | None = None
    password_file: Path | None = None
    opens_browser: bool = True
    folders: tuple[Path, ...] = ()
    projects: Path | None = None
    max_upload_bytes: int = MAX_BYTES

    @property
    def on_loopback(self) -> bool:
        """True if only programs of this machine can reach the page."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def only_files(self) -> bool:
        """True if files are to be annotated, and no stream is to be shown."""
        return bool(self.folders) and not self.sources and self.control is None

    def check(self) -> None:
        """Check what can be checked before anything is started.

        Raises:
            UsageError: The page would be open to others, or a file cannot be read.
        """
        if not 0 <= self.port <= 65535:
            raise UsageError(f"--port {self.port}: not a port", "give 0 to 65535")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise UsageError("--tls-cert and --tls-key go together", "give both or neither")
        for folder in self.folders:
            if not folder.is_dir():
                raise UsageError(f"--folder {folder} is not a folder", "give one that is there")
        if self.on_loopback:
            return
        if self.tls_cert is None or self.password_file is None:
            raise UsageError(
                f"--host {self.host} is reached by other machines",
                "give --tls-cert, --tls-key and --password-file",
            )
        if not self.names:
            raise UsageError(
                "off loopback the page must know its own name",
                "give --name HOST, as it stands in the browser's address",
            )

    def connect(self) -> AsyncClient:
        """A client of the daemon."""
        keys = {"client_key": self.client_key, "server_key": self.server_key}
        return AsyncClient(self.control, self.data, timeout_s=self.timeout_s, **keys)

    def client(self, timeout_s: float | None = None) -> Client:
        """The same, for a program without asyncio."""
        keys = {"client_key": self.client_key, "server_key": self.server_key}
        return Client(self.control, self.data, timeout_s=timeout_s or self.timeout_s, **keys)


def serve(launch: Launch) -> int:
    """Serve the page until it is told to stop; the exit code.

    Raises:
        UsageError: An option is wrong.
        TrackdError: No daemon answers and none can be started, or the port is taken.
    """
    launch.check()
    context = _tls(launch)
    password = None if launch.password_file is None else _read_password(launch.password_file)
    # As Ctrl-C: uvicorn raises either again once it has ended, and our daemon is to end as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    daemon = nullcontext() if launch.only_files else _daemon(launch)
    # Whenever the signal comes: what was begun is ended, and that is no failure.
    with (
        suppress(KeyboardInterrupt),
        _listening(launch) as listener,
        _pages(launch) as pages,
        daemon,
    ):
        _add_sources(launch)
        port = listener.getsockname()[1]
        access = Access(_origins(launch, port), password)
        address = sorted(access.origins)[0] + (ANNOTATE if launch.only_files else "/")
        if password is None:
            address += f"?token={access.token}"
        config = server_config(studio_app(launch.connect, access, pages))
        config.load()  # all is imported: an interrupt from here on ends in the exit code 0
        config.ssl = context
        print(f"studio: {address}", file=sys.stderr, flush=True)
        print("press Ctrl-C to end it", file=sys.stderr, flush=True)
        if launch.opens_browser:
            with suppress(webbrowser.Error):
                webbrowser.open(address)
        uvicorn.Server(config).run(sockets=[listener])
    return 0


@contextmanager
def _pages(launch: Launch) -> Iterator[ProjectPages | None]:
    """Pages of the projects, locked for as long as the block lasts.

    None where the projects of this user cannot be had, and nobody asked for them.
    """
    with ExitStack() as stack:
        pages = None
        try:
            library = Library(launch.projects or default_projects(), launch.folders)
            stack.enter_context(library.lock())
            pages = ProjectPages(library, Uploads(library, launch.max_upload_bytes))
        except TrackdError as error:
            if launch.folders or launch.projects is not None:
                raise
            print(f"streams only, files cannot be annotated: {error}", file=sys.stderr, flush=True)
        yield pages


def _origins(launch: Launch, port: int) -> frozenset[str]:
    scheme = "http" if launch.tls_cert is None else "https"
    names = set(launch.names)
    if launch.on_loopback:
        names |= {"127.0.0.1", "localhost", "[::1]"} if launch.host != "::1" else {"[::1]"}
    default = {"http": 80, "https": 443}[scheme]
    return frozenset(
        f"{scheme}://{name}" if port == default else f"{scheme}://{name}:{port}" for name in names
    )


def _tls(launch: Launch) -> ssl.SSLContext | None:
    if launch.tls_cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(launch.tls_cert, launch.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"cannot use {launch.tls_cert} with {launch.tls_key}: {error}",
            "give a PEM certificate and its key",
        ) from error
    return context


def _read_password(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_PASSWORD_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "give a file") from error
    password = data.decode("utf-8", "replace").strip()
    if len(data) > _MAX_PASSWORD_BYTES or len(password) < _LEAST_PASSWORD or "\n" in password:
        raise UsageError(
            f"{path} holds no password",
            f"write one line of {_LEAST_PASSWORD} characters or more into it",
        )
    return password


@contextmanager
def _listening(launch: Launch) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in launch.host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((launch.host, launch.port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise TrackdError(
            f"cannot listen on {launch.host}:{launch.port}: {error.strerror}",
            "another studio may run; give another --port, or 0 for any",
        ) from error
    with listener:
        yield listener


@contextmanager
def _daemon(launch: Launch) -> Iterator[None]:
    """A daemon for as long as the block lasts, where none listens."""
    to = endpoints(launch.control, launch.data, launch.client_key, launch.server_key)
    if not why_unreachable(to.control):
        yield
        return
    if launch.control is not None or launch.client_key is not None:
        raise TrackdError(f"nothing listens on {to.control}", "start it with `trackd serve`")
    print("no daemon runs: starting one", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "tracker.cli.main", "serve"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)
    try:
        _wait_until_ready(launch, process)
        yield
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(launch: Launch, process: "subprocess.Popen[bytes]") -> None:
    end_s = time.monotonic() + _START_S
    with launch.client(1.0) as client:
        while time.monotonic() < end_s:
            if process.poll() is not None:
                raise TrackdError(f"the daemon ended with {process.returncode}", "see above")
            with suppress(TrackdError):
                if client.ping().ready:
                    return
            time.sleep(0.1)
    raise TrackdError(f"the daemon was not ready within {_START_S:g} s", "see above")


def _add_sources(launch: Launch) -> None:
    if not launch.sources:
        return
    with launch.client() as client:
        taken = {stream.stream for stream in client.streams()}
        for source in launch.sources:
            name = _free_name(source, taken)
            taken.add(name)
            path = local_path(source)  # the daemon may run in another folder
            url = source if path is None else str(path.absolute())
            client.add_stream(name, url, realtime=True, loop=True)
            print(f"stream {name}: {redact(source)}", file=sys.stderr, flush=True)


def _free_name(source: str, taken: set[str]) -> str:
    """A name of a stream for a source, made of the last part of its address."""
    last = redact(source).rstrip("/").rpartition("/")[2].partition("?")[0]
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", last.rpartition(".")[0] or last).strip("-_")[:48]
    stem = stem or "stream"
    names = (stem if number == 1 else f"{stem}-{number}" for number in range(1, 1000))
    return next(name for name in names if name not in taken)
