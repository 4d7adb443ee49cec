"""The end of the daemon: it comes in time, whatever hangs, and tells what does."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tracker.daemon.lifetime import Lifetime

PATIENCE_S = 60.0


def test_a_life_that_ends_by_itself_is_waited_for() -> None:
    lifetime = Lifetime(PATIENCE_S)
    asked = threading.Event()

    def live() -> None:
        assert asked.wait(PATIENCE_S)

    threading.Timer(0.05, lambda: (asked.set(), lifetime.begin_end())).start()
    assert lifetime.run(live)


def test_what_ends_it_is_handed_over() -> None:
    def live() -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        Lifetime(PATIENCE_S).run(live)


def test_a_life_that_hangs_is_left_behind() -> None:
    released = threading.Event()
    lifetime = Lifetime(0.2)
    lifetime.begin_end()
    assert not lifetime.run(lambda: released.wait() and None)
    assert lifetime.left_s() == 0.0
    released.set()


def test_a_part_has_its_share_of_one_deadline() -> None:
    lifetime = Lifetime(1000.0)
    lifetime.begin_end()
    half_s, all_s = lifetime.left_s(0.5), lifetime.left_s()
    assert 0 < half_s < all_s < 1000.0
    assert all_s - half_s == pytest.approx(499.5, abs=1.0), "half of all but the reserve"
    lifetime.begin_end()
    assert lifetime.left_s() <= all_s, "asked for again it gives no more time"


HANGS = """
import os, signal, sys, threading
from tracker.daemon.lifetime import Lifetime
lifetime = Lifetime(0.5)
signal.signal(signal.SIGTERM, lambda *_: lifetime.begin_end())
def live():
    print("ready", flush=True)
    threading.Event().wait()
os._exit(1 if lifetime.run(live) else 7)
"""


def test_a_signal_is_taken_while_all_hangs() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HANGS],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 7
    process.stdout.close()
