"""Reachability of an endpoint: asked of the system, which knows at once."""

import re
import socket
import threading
from pathlib import Path

from tracker.client.errors import DaemonUnreachable

NOTICE_S = 0.1
"""So long a connection may take before it is looked into."""

_ANSWER_S = 0.5  # a system that knows says so sooner; after that nothing is known
_TCP = re.compile(r"tcp://\[?(?P<host>[^\]]+)\]?:(?P<port>\d{1,5})")
_IPC = "ipc://"


def why_unreachable(endpoint: str) -> str:
    """Reason that nobody can be reached, in words; "" where someone can, or nothing is known.

    Takes at most about half a second.
    """
    found: list[str] = []
    # A name may take the resolver many seconds: then the thread is left behind.
    thread = threading.Thread(target=lambda: found.append(_look(endpoint)), daemon=True)
    thread.start()
    thread.join(_ANSWER_S)
    return found[0] if found else ""


def unreachable(why: str) -> DaemonUnreachable:
    """Error for a request that was not sent, as nobody can be reached."""
    return DaemonUnreachable(why, "start it with `trackd serve`, or give a timeout to wait for it")


def _look(endpoint: str) -> str:
    match = _TCP.fullmatch(endpoint)
    try:
        if match is not None:
            socket.create_connection((match["host"], int(match["port"])), _ANSWER_S).close()
        elif endpoint.startswith(f"{_IPC}/"):
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(str(Path(endpoint.removeprefix(_IPC))))
    except (ConnectionRefusedError, FileNotFoundError):
        return f"nothing listens on {endpoint}"
    except (socket.gaierror, UnicodeError):
        return f"there is no host {match['host'] if match else endpoint}"
    except OSError:
        return ""  # ZeroMQ goes on trying
    return ""
