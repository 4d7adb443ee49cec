"""The log where nobody reads it: nothing waits, what went is counted, and the end is not lost."""

import io
import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tracker.daemon.config.schema import LogConfig
from tracker.daemon.telemetry.log_writer import LogWriter, background_output, dropped_lines
from tracker.daemon.telemetry.logs import setup_logs

WAIT_S = 30.0
BACKGROUND = """
import logging, os, sys
from tracker.daemon.config.schema import LogConfig
from tracker.daemon.telemetry.log_writer import background_output
from tracker.daemon.telemetry.logs import setup_logs
with background_output():
    setup_logs(LogConfig())
    {body}
"""


class Pipe:
    """A pipe of which `fill` leaves no room."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)

    def fill(self) -> int:
        os.set_blocking(self.writer, False)
        filled = 0
        try:
            while True:
                filled += os.write(self.writer, b"." * 4096)
        except BlockingIOError:
            os.set_blocking(self.writer, True)
        return filled

    def read(self, size: int = 1 << 22) -> bytes:
        data = b""
        while len(data) < size:
            try:
                more = os.read(self.reader, size - len(data))
            except BlockingIOError:
                break
            if not more:
                break
            data += more
        return data


@pytest.fixture
def pipe():
    made = Pipe()
    yield made
    for descriptor in (made.reader, made.writer):
        os.close(descriptor)


def test_all_that_was_written_arrives_in_order(pipe):
    writer = LogWriter(pipe.writer)
    for number in range(1000):
        assert writer.write(f"line {number}\n") == len(f"line {number}\n")
    assert writer.finish(WAIT_S)
    assert pipe.read().decode().splitlines() == [f"line {number}" for number in range(1000)]
    assert writer.dropped == 0


def test_nobody_reads_and_nobody_waits_and_the_newest_lines_survive(pipe):
    filled = pipe.fill()
    writer = LogWriter(pipe.writer, capacity_bytes=4096)
    for number in range(5000):
        writer.write(f"line {number}\n")
    assert not writer.finish(0.05), "there is no room in the pipe"
    assert writer.dropped > 4900
    assert len(pipe.read(filled)) == filled
    assert writer.finish(WAIT_S)
    told = pipe.read().decode().splitlines()
    numbers = [int(line.removeprefix("line ")) for line in told if line.startswith("line ")]
    gaps = [re.fullmatch(r"(\d+) lines of the log were dropped here", line) for line in told]
    assert sum(int(gap[1]) for gap in gaps if gap is not None) == writer.dropped
    assert len(numbers) + writer.dropped == 5000
    assert numbers[-20:] == list(range(4980, 5000)), "the newest, without a gap"


def test_what_a_full_disk_refuses_is_counted():
    full = os.open("/dev/full", os.O_WRONLY)
    writer = LogWriter(full)
    writer.write("one\ntwo\n")
    writer.write("three\n")
    assert writer.finish(WAIT_S)
    assert writer.dropped == 3
    os.close(full)


def test_a_pipe_without_a_reader_ends_nothing(pipe):
    reader, writing = os.pipe()
    os.close(reader)
    writer = LogWriter(writing)
    print("lost", file=writer, flush=True)
    assert writer.finish(WAIT_S)
    assert writer.dropped == 1
    os.close(writing)


def test_the_lines_that_went_are_told_in_the_form_of_the_log(pipe, monkeypatch):
    filled = pipe.fill()
    writer = LogWriter(pipe.writer, capacity_bytes=1024)
    monkeypatch.setattr(sys, "stderr", writer)
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        setup_logs(LogConfig(format="json"))
        for number in range(200):
            root.info("line %d", number)
        assert dropped_lines() == writer.dropped > 150
    finally:
        root.handlers[:], root.level = before
        logging.captureWarnings(False)
    pipe.read(filled)
    assert writer.finish(WAIT_S)
    told = [json.loads(line) for line in pipe.read().decode().splitlines()]
    gaps = [line for line in told if line["message"].split()[1:3] == ["lines", "of"]]
    assert {gap["level"] for gap in gaps} == {"warning"}
    assert sum(int(gap["message"].split()[0]) for gap in gaps) == writer.dropped


def test_output_that_is_no_file_stays_as_it_is(monkeypatch):
    text = io.StringIO()
    monkeypatch.setattr(sys, "stderr", text)
    with background_output():
        print("told", file=sys.stderr)
    assert text.getvalue() == "told\n"
    assert dropped_lines() == 0


def run(body: str, **options) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", BACKGROUND.format(body=body)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.DEVNULL,
        text=True,
        **options,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "body",
    [
        "logging.info('the last words')",
        "print('the last words')",
        "print('the last words', file=sys.stderr)",
        "logging.info('the last words'); sys.exit(3)",
        "import warnings; warnings.warn('the last words')",
        "import threading\n"
        "    t = threading.Thread(target=lambda: 1 / int('the last words'.count('x')))\n"
        "    t.start(); t.join(); print('the last words')",
    ],
)
def test_the_last_words_are_written(body):
    process = run(body, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert "the last words" in process.communicate(timeout=WAIT_S)[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "body",
    [
        "for _ in range(10**4): logging.info('line')",
        "for _ in range(10**4): print('line')",
        "for _ in range(10**4): print('line', file=sys.stderr)",
        "import ctypes\n"
        "    for _ in range(10**4): ctypes.CDLL(None).write(2, b'line', 4)",  # as libraries do
        "import ctypes\n    for _ in range(10**4): ctypes.CDLL(None).write(1, b'line', 4)",
    ],
)
def test_a_process_ends_though_nobody_reads_what_it_writes(pipe, body):
    pipe.fill()
    process = run(body, stdout=pipe.writer, stderr=pipe.writer)
    assert process.wait(WAIT_S) == 0


@pytest.mark.slow
def test_who_shares_our_pipe_still_waits_for_room(pipe):
    process = run("print('line')", stdout=pipe.writer, stderr=pipe.writer)
    assert process.wait(WAIT_S) == 0
    assert os.get_blocking(pipe.writer), "their end of it is not ours to change"
    assert pipe.read() == b"line\n"
