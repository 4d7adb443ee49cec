"""Python with trackd and torch imported: programs forked off a process that waits with both.

    python -m tests.support.warm_python SOCKET PID   the process that waits, while PID runs
    python -S -E warm_python.py SOCKET -m tracker.cli.main …    a program, as of `python -m …`

Where the test is what a program does, and not how it starts, this saves the four seconds of
processor time that the imports take. A program has its own arguments, environment, folder, input
and output, is sent the signals that its caller gets, ends with the same exit code or signal as it
does, and is killed when its caller is. Of what the interpreter reads of the environment when it
starts, PYTHONIOENCODING, PYTHONPATH and PYTHONWARNINGS have their effect; the locale and what
libraries read, such as the address of a hub, have none.
"""

import atexit
import contextlib
import functools
import os
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NoReturn

_MAX_BYTES = 2**20
_READY_S = 300.0
_IMPORTED = (
    "tracker.models.load",
    "tracker.annotate.run",
    "tracker.cli.track",
    "tracker.daemon.server",
)
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@functools.cache
def python() -> tuple[str, ...]:
    """Command of a Python that has trackd imported; it ends with the run of the tests.

    The first test process that needs it starts it, for all of them.
    """
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")  # of this run of several processes
    if run is None:
        path = Path(tempfile.mkdtemp(prefix="warm-python-"), "socket")
        _start(path, os.getpid())
        return sys.executable, "-S", "-E", __file__, str(path)
    path = Path(tempfile.gettempdir(), f"warm-python-{run}", "socket")
    try:
        path.parent.mkdir(mode=0o700)
    except FileExistsError:
        deadline_s = time.monotonic() + _READY_S
        while not path.exists():
            assert time.monotonic() < deadline_s, f"nothing waits at {path}"
            time.sleep(0.1)
    else:
        _start(path, os.getppid())
    return sys.executable, "-S", "-E", __file__, str(path)


def _start(path: Path, owner: int) -> None:
    command = [sys.executable, "-m", "tests.support.warm_python", str(path), str(owner)]
    waiting = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE)
    assert waiting.stdout is not None
    assert waiting.stdout.readline() == b"ready\n"


def executable(folder: Path) -> str:
    """The same as a program in `folder`, for what asks for the path of an interpreter."""
    path = folder / "warm-python"
    path.write_text(f'#!/bin/sh\nexec {shlex.join(python())} "$@"\n')
    path.chmod(0o700)
    return str(path)


def call(path: str, arguments: list[str]) -> int:
    """Have a program run, and end as it does: by its exit code, or by the signal that ended it."""
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(path)
        fields = [str(Path.cwd()), str(len(arguments)), *arguments]
        fields += [f"{key}={value}" for key, value in os.environ.items()]
        data = b"\0".join(os.fsencode(field) for field in fields)
        socket.send_fds(server, [len(data).to_bytes(4, "little")], [0, 1, 2])
        server.sendall(data)
        process = int.from_bytes(_receive(server, 4), "little")
        for number in _SIGNALS:
            signal.signal(number, lambda number, frame: os.kill(process, number))
        code = int.from_bytes(_receive(server, 2), "little", signed=True)
    if code < 0:
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def _receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise EOFError("the process that waits is gone")
        data += piece
    return data


def serve(path: str, owner: int) -> None:
    """Import, then fork a process for each program; ends when a process `owner` does."""
    import gc
    import importlib

    for name in _IMPORTED:
        importlib.import_module(name)
    gc.freeze()
    ended = os.pidfd_open(owner)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{path}.new")
    listener.listen(64)
    os.rename(f"{path}.new", path)  # noqa: PTH104 - what is there listens
    print("ready", flush=True)
    while ended not in (ready := select.select([listener, ended], [], [], 1.0)[0]):
        _reap()
        if not ready:
            continue
        connection, _ = listener.accept()
        with connection:
            if os.fork() == 0:
                listener.close()
                os._exit(_watch(connection))
    shutil.rmtree(Path(path).parent)


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _watch(connection: socket.socket) -> int:
    """Fork the program, tell its caller how it ended; kill it when its caller is gone."""
    size, descriptors, _, _ = socket.recv_fds(connection, 4, 3)
    length = int.from_bytes(size, "little")
    assert length <= _MAX_BYTES
    folder, count, *fields = map(os.fsdecode, _receive(connection, length).split(b"\0"))
    arguments, environment = fields[: int(count)], fields[int(count) :]
    program = os.fork()
    if program == 0:
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        connection.close()
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(field.split("=", 1) for field in environment)
        _run_and_end(arguments)
    for descriptor in descriptors:
        os.close(descriptor)
    connection.sendall(program.to_bytes(4, "little"))
    ended = os.pidfd_open(program)
    if ended not in select.select([ended, connection], [], [])[0]:
        os.kill(program, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(program, 0)[1])
    with contextlib.suppress(BrokenPipeError):
        connection.sendall(code.to_bytes(2, "little", signed=True))
    return 0


def _run_and_end(arguments: list[str]) -> NoReturn:
    """Run a program and end as the interpreter does; modules are not taken apart (a second)."""
    code: int | str | None = None
    try:
        _run(arguments)
    except SystemExit as ended:
        code = ended.code
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for file in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            file.flush()
    os._exit(1 if isinstance(code, str) else code or 0)


def _run(arguments: list[str]) -> None:
    """Run `-m NAME …`, `-c CODE …` or a file."""
    import runpy
    import warnings

    signal.signal(signal.SIGINT, signal.default_int_handler)
    warnings._processoptions(os.environ.get("PYTHONWARNINGS", "").split(","))  # type: ignore[attr-defined]
    sys.path[:0] = [part for part in os.environ.get("PYTHONPATH", "").split(":") if part]
    encoding = os.environ.get("PYTHONIOENCODING")
    for name, descriptor in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        file = open(  # noqa: SIM115
            descriptor,
            "r" if name == "stdin" else "w",
            buffering=1,
            closefd=False,
            encoding=encoding,
            errors="backslashreplace" if name == "stderr" else "strict",
        )
        setattr(sys, name, file)
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    match arguments:
        case ["-m", name, *rest]:
            sys.argv = [name, *rest]
            runpy.run_module(name, run_name="__main__", alter_sys=True)
        case ["-c", code, *rest]:
            sys.argv = ["-c", *rest]
            exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
        case [path, *rest]:
            sys.argv = [path, *rest]
            runpy.run_path(path, run_name="__main__")


if __name__ == "__main__":
    if sys.flags.no_site:
        sys.exit(call(sys.argv[1], sys.argv[2:]))
    serve(sys.argv[1], int(sys.argv[2]))
