"""`trackd studio`: the page on which people see streams, click objects and watch their masks."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracker.cli import connection, source_address
from tracker.errors import UsageError

if TYPE_CHECKING:
    from tracker.studio.launch import Launch

PORT = 8570
_ABOUT = """\
Opens a page on which streams are shown live: click an object, and its mask follows. The page is a
client of a daemon: of the one that runs, or of one that is started for as long as the page is
served. Another page annotates files of --folder, or that are dropped on it; what is done there is
kept in projects, for trackd export too. Only this machine is served unless --host says else, which
needs a certificate and a password.
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to `trackd`."""
    parser = subparsers.add_parser(
        "studio",
        help="see streams and annotate files in a browser, by clicking",
        description=_ABOUT,
        epilog="example: trackd studio clip.mp4 webcam:0 --folder videos",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "sources",
        nargs="*",
        metavar="SOURCE",
        help="video files, cameras; files play again and again at their own pace",
    )
    parser.add_argument(
        "--url-file",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a source whose address, with its password, is in this file; repeats",
    )
    files = parser.add_argument_group("annotation of files")
    files.add_argument(
        "--folder",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="a folder whose videos and pictures may be annotated, and those in its folders; "
        "repeats; without it only files that are dropped on the page",
    )
    files.add_argument(
        "--projects",
        type=Path,
        metavar="DIR",
        help="where projects are kept (~/.local/share/trackd/projects)",
    )
    files.add_argument(
        "--max-upload",
        type=float,
        default=4.0,
        metavar="GIB",
        help="size of a file that may be dropped on the page (4)",
    )
    page = parser.add_argument_group("page")
    page.add_argument("--port", type=int, default=PORT, help=f"of the page ({PORT}); 0 takes any")
    page.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    page.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="HOST",
        help="a name by which browsers know this machine, off loopback; repeats",
    )
    page.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate chain, PEM")
    page.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key, PEM")
    page.add_argument(
        "--password-file", type=Path, metavar="FILE", help="the password that people type"
    )
    page.add_argument("--no-browser", action="store_true", help="open no browser")
    connection.add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C or SIGTERM.

    Raises:
        UsageError: An option is wrong, or the extra is not installed.
        TrackdError: No daemon answers, and none can be started.
    """
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"the studio needs the package {error.name}", "pip install 'trackd[studio]'"
        ) from error
    from tracker.studio.launch import serve

    return serve(_launch(args))


def _bytes(gib: float) -> int:
    if not 0 <= gib <= 1024:
        raise UsageError(f"--max-upload {gib:g}: not a size", "give GiB, from 0 to 1024")
    return round(gib * 2**30)


def _launch(args: argparse.Namespace) -> "Launch":
    from tracker.studio.launch import Launch

    addresses = [source_address.from_file(path) for path in args.url_file]
    return Launch(
        sources=(*args.sources, *addresses),
        control=args.control,
        data=args.data,
        timeout_s=args.timeout,
        client_key=args.key,
        server_key=args.server_key,
        host=args.host,
        port=args.port,
        names=tuple(args.name),
        tls_cert=args.tls_cert,
        tls_key=args.tls_key,
        password_file=args.password_file,
        opens_browser=not args.no_browser,
        folders=tuple(args.folder),
        projects=args.projects,
        max_upload_bytes=_bytes(args.max_upload),
    )
