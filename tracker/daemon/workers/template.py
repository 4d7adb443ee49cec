"""Template process: imports once what workers need, and forks them.

    python -m tracker.daemon.workers.template FD        FD is its end of a pair of sockets

A worker that crashed is there again in the time that its model takes, and all share the memory of
what was imported. The template computes nothing, so that no thread runs when it forks. It answers
two requests, one byte and a number each: FORK comes with the socket that the worker is to have, and
is answered with its process id; WAIT names a process, and is answered with its exit code, or
RUNNING. Until it was asked for, an ended process keeps its id, so that no other can be meant by it.
"""

import os
import signal
import socket
import struct
import sys
from importlib import import_module

from tracker.process import prepare_process

FORK, WAIT = 1, 2
RUNNING = 1 << 20
GONE = RUNNING + 1
REQUEST = struct.Struct("!Bq")
ANSWER = struct.Struct("!q")
_NEEDED = (
    "tracker.daemon.workers.main",
    "tracker.models.pico.build",
    "tracker.models.sam2.build",
)


def main(descriptor: int) -> None:
    """Fork workers until the daemon hangs up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    prepare_process()
    for name in _NEEDED:
        import_module(name)
    daemon = socket.socket(fileno=descriptor)
    while True:
        request, descriptors, _, _ = socket.recv_fds(daemon, REQUEST.size, 1)
        if len(request) < REQUEST.size:
            return  # the daemon is gone
        what, pid = REQUEST.unpack(request)
        answer = _fork(daemon, descriptors[0]) if what == FORK else _waited(pid)
        daemon.sendall(ANSWER.pack(answer))


def _fork(daemon: socket.socket, descriptor: int) -> int:
    pid = os.fork()
    if pid == 0:
        daemon.close()
        from tracker.daemon.workers.main import run_worker

        run_worker(socket.socket(fileno=descriptor))
    os.close(descriptor)
    return pid


def _waited(pid: int) -> int:
    try:
        ended, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return GONE
    return os.waitstatus_to_exitcode(status) if ended else RUNNING


if __name__ == "__main__":
    main(int(sys.argv[1]))
