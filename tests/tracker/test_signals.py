"""Signals that the system hands to another thread than the main one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WAITS = {
    "a lock": "import queue; queue.SimpleQueue().get()",
    "a condition": "condition = threading.Condition()\n    with condition: condition.wait()",
    "a socket of ZeroMQ": "import zmq; zmq.Context().socket(zmq.PULL).poll()",
    "a program": "import subprocess; subprocess.run(['sleep', '60'])",
}
PROGRAM = """
import os, signal, threading, time
from tracker.signals import signals_reach_main_thread

def take_it():
    time.sleep(0.5)  # by then the main thread waits
    signal.pthread_kill(threading.get_ident(), signal.{name})

def end(number, frame):
    os._exit(7)

signal.signal(signal.{name}, end)
with signals_reach_main_thread():
    threading.Thread(target=take_it, daemon=True).start()
    {wait}
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("wait", WAITS)
def test_a_signal_that_another_thread_gets_ends_the_wait(wait: str, name: str) -> None:
    program = PROGRAM.format(name=name, wait=WAITS[wait])
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=30, check=False)
    assert ran.returncode == 7


def test_what_was_set_before_is_set_afterwards() -> None:
    program = """
import signal, socket
from tracker.signals import signals_reach_main_thread
one, other = socket.socketpair()
other.setblocking(False)
signal.set_wakeup_fd(other.fileno())
with signals_reach_main_thread():
    pass
assert signal.set_wakeup_fd(-1) == other.fileno()
assert signal.getsignal(signal.SIGURG) is signal.SIG_DFL
"""
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


@pytest.mark.slow
def test_a_command_that_waits_without_a_limit_ends_with_ctrl_c() -> None:
    program = """
import queue, signal, sys, threading, time
from tracker.cli import main as cli
def take_it():
    time.sleep(0.5)
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)
def wait(args):
    threading.Thread(target=take_it, daemon=True).start()
    queue.SimpleQueue().get()
signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored where tests run
cli._COMMANDS["doctor"] = wait
sys.exit(cli.main(["doctor"]))
"""
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=30, check=False)
    assert ran.returncode == 130


@pytest.mark.slow
@pytest.mark.parametrize("caught", ["by main", "by the command"])
def test_the_exit_code_is_kept_where_ctrl_c_came_in_the_midst_of_an_import(
    caught: str, tmp_path: Path
) -> None:
    program = f"""
import contextlib, sys
from tracker.cli import main as cli

def run(args):
    with contextlib.suppress(KeyboardInterrupt) if {caught == "by the command"} else \
            contextlib.nullcontext():
        exec("raise KeyboardInterrupt")  # as what makes a dataclass
    return 0

cli._COMMANDS["schema"] = run
sys.exit(cli.main(["schema", "prompts"]))
"""
    (tmp_path / "program.py").write_text(program)
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    command = [sys.executable, "-m", "program"]
    ran = subprocess.run(command, env=environment, timeout=30, check=False)
    assert ran.returncode == (0 if caught == "by the command" else 130)
