"""The log's lines: their form, and what never gets into them."""

import io
import json
import logging
import re

import pytest

from tracker.daemon.config.schema import LogConfig
from tracker.daemon.telemetry.logs import redact_text, setup_logs

_LOG = logging.getLogger("trackd.test")


@pytest.fixture(autouse=True)
def _restore_logging():
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    libraries = {name: logging.getLogger(name).level for name in ("asyncio", "zmq")}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, library_level in libraries.items():
        logging.getLogger(name).setLevel(library_level)
    logging.captureWarnings(False)


def lines(capsys) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_a_plain_line_is_time_level_and_text(capsys):
    setup_logs(LogConfig())
    _LOG.info("stream %s running, %d fps", "cam1", 30)
    (line,) = lines(capsys)
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info stream cam1 running, 30 fps", line
    )


def test_the_time_is_utc(capsys):
    setup_logs(LogConfig())
    record = logging.LogRecord("x", logging.WARNING, "", 0, "late", None, None)
    record.created, record.msecs = 1795467600.5, 500.0
    logging.getLogger().handle(record)
    assert lines(capsys) == ["2026-11-23T21:00:00.500Z warning late"]


def test_a_json_line_is_one_object(capsys):
    setup_logs(LogConfig(format="json"))
    _LOG.warning('a "quoted"\nname: %s', "Tür")
    (line,) = lines(capsys)
    fields = json.loads(line)
    assert fields["message"] == 'a "quoted"\nname: Tür'
    assert (fields["level"], fields["logger"]) == ("warning", "trackd.test")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", fields["time"])


def test_form_and_level_change_while_it_runs(capsys):
    setup_logs(LogConfig(level="warning"))
    _LOG.info("not told")
    setup_logs(LogConfig(level="debug", format="json"))
    _LOG.debug("told")
    (line,) = lines(capsys)
    assert json.loads(line)["message"] == "told"


@pytest.mark.parametrize("form", ["plain", "json"])
def test_a_label_cannot_forge_a_line(capsys, form):
    setup_logs(LogConfig(format=form))
    _LOG.info("label %s", "dog\n2026-01-01T00:00:00.000Z error all is lost\r\x1b[31m\u2028")
    (line,) = lines(capsys)
    assert "\x1b" not in line


def fail(url: str) -> None:
    try:
        raise OSError(f"cannot open {url}")
    except OSError:
        _LOG.exception("stream cam1 failed")


@pytest.mark.parametrize("form", ["plain", "json"])
def test_a_traceback_is_told_without_credentials(capsys, form):
    setup_logs(LogConfig(format=form))
    fail("rtsp://me:hunter2@cam/live")
    text = capsys.readouterr().err
    assert "OSError: cannot open rtsp://***@cam/live" in text
    assert "hunter2" not in text
    first, *rest = text.splitlines()
    assert "stream cam1 failed" in first
    assert all(line.startswith("    ") for line in rest)
    assert bool(rest) == (form == "plain")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("open rtsp://me:hunter2@cam:554/live now", "open rtsp://***@cam:554/live now"),
        ("'http://me:hu'nter2@h/x'", "'http://***@h/x'"),
        ("http://h/x?user=me&password=hunter2&a=1 x", "http://h/x?*** x"),
        ("a rtsp://a:hunter@b and rtsp://c:hunter@d", "a rtsp://***@b and rtsp://***@d"),
        ("rtsp://me:hun ter2@cam/live is gone", "rtsp://***@cam/live is gone"),
        ("rtsp://me:hunter/2@cam/live", "rtsp://***@cam/live"),
    ],
)
def test_credentials_of_urls_are_hidden_wherever_they_stand(text, shown):
    assert redact_text(text) == shown
    assert "hunter" not in shown


@pytest.mark.parametrize(
    "text",
    [
        "listening on tcp://127.0.0.1:5570",
        "http://h:80/x failed; ask somebody@example.org",
        "label cat@home on cam1",
        "/data/a@b/clip.mp4: no such file",
        "",
    ],
)
def test_other_text_stays_as_it_is(text):
    assert redact_text(text) == text


def test_configuring_and_logging_redacts_arguments_too(capsys):
    setup_logs(LogConfig())
    _LOG.info("%s is %s", "rtsp://me:hunter2@cam/live", "running")
    (line,) = lines(capsys)
    assert line.endswith("info rtsp://***@cam/live is running")


@pytest.mark.parametrize("form", ["plain", "json"])
def test_a_label_cannot_turn_the_direction_of_a_line(capsys, form):
    setup_logs(LogConfig(format=form))
    _LOG.info("label %s", "\u202egod\u2066\u200f")
    (line,) = lines(capsys)
    assert "label \\u202egod\\u2066\\u200f" in line


def test_json_is_json_whatever_the_encoding_of_standard_error(monkeypatch):
    bytes_written = io.BytesIO()
    ascii_only = io.TextIOWrapper(bytes_written, "ascii", errors="backslashreplace")
    monkeypatch.setattr("sys.stderr", ascii_only)
    # Without pytest's own handlers: its report of a lone surrogate cannot leave a worker.
    monkeypatch.setattr(logging.root, "handlers", [])
    setup_logs(LogConfig(format="json"))
    _LOG.info("label %s of %s", "🐶\x9b", "clip\udcff.mp4")
    ascii_only.flush()
    assert json.loads(bytes_written.getvalue())["message"] == "label 🐶\x9b of clip\udcff.mp4"
