"""Start of worker processes by a template process, as the daemon sees it."""

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import tracker
from tracker.daemon.workers.template import ANSWER, FORK, GONE, REQUEST, RUNNING, WAIT

_LOOK_S = 0.02


class Nursery:
    """Starts the template when the first worker is asked for, and again where it ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards what follows; a request holds it for its answer
        self._template: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def fork(self, sock: socket.socket) -> int:
        """Start a worker that has `sock`; returns its process id.

        The first waits until the template has imported what it needs.

        Raises:
            OSError: There is no process to be had.
        """
        with self._lock:
            if self._socket is None:
                self._socket = self._start()
            try:
                request = [REQUEST.pack(FORK, 0)]
                socket.send_fds(self._socket, request, [sock.fileno()])
                return self._answer(self._socket)
            except OSError:
                self._end()
                raise

    def exit_code(self, pid: int, timeout_s: float) -> int | None:
        """Exit code of a worker, negative for a signal; None where it does not end in time.

        It is given once. Where the template is gone it is 0, since nobody knows.
        """
        until_s = time.monotonic() + timeout_s
        while True:
            code = self._waited(pid)
            if code == GONE:
                return 0
            if code != RUNNING:
                return code
            if time.monotonic() >= until_s:
                return None
            time.sleep(_LOOK_S)

    def close(self) -> None:
        """End the template; workers that run are not touched."""
        template = self._template
        if template is not None:
            template.kill()  # somebody may wait for it, with the lock
        with self._lock:
            self._end()

    def _waited(self, pid: int) -> int:
        with self._lock:
            if self._socket is None:
                return GONE
            try:
                self._socket.sendall(REQUEST.pack(WAIT, pid))
                return self._answer(self._socket)
            except OSError:
                self._end()
                return GONE

    def _answer(self, sock: socket.socket) -> int:
        answer = sock.recv(ANSWER.size, socket.MSG_WAITALL)
        if len(answer) < ANSWER.size:
            raise OSError("the template of the workers ended")
        return int(ANSWER.unpack(answer)[0])

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        root = str(Path(tracker.__file__).parents[1])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        module = "tracker.daemon.workers.template"
        with theirs:
            self._template = subprocess.Popen(
                [sys.executable, "-P", "-m", module, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=os.environ | {"PYTHONPATH": path},
            )
        return ours

    def _end(self) -> None:
        if self._socket is not None:
            self._socket.close()
        if self._template is not None:
            self._template.kill()
            self._template.wait()
        self._socket = self._template = None
