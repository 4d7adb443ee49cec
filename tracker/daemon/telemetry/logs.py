"""Log lines on stderr: plain or JSON, UTC, and without the credentials of any URL."""

import json
import logging
import re
import sys
import time

from streams.redaction import redact_text
from tracker.daemon.config.schema import LogConfig
from tracker.daemon.telemetry.log_writer import LogWriter

__all__ = ["JsonFormatter", "PlainFormatter", "redact_text", "setup_logs"]

# Control characters, line ends, and what changes the direction of the text that follows.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
_NAME = "trackd stderr"


def setup_logs(config: LogConfig) -> None:
    """Write the log to stderr as `config` has it; again at any time to change form and level."""
    formatter = JsonFormatter() if config.format == "json" else PlainFormatter()
    handler = logging.StreamHandler(sys.stderr)
    handler.set_name(_NAME)
    handler.setFormatter(formatter)
    if isinstance(sys.stderr, LogWriter):
        sys.stderr.notice = lambda lines: formatter.format(_dropped(lines)) + "\n"
    root = logging.getLogger()
    for old in [old for old in root.handlers if old.get_name() == _NAME]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(config.level.upper())
    # What libraries log at this level is about themselves.
    for library in ("asyncio", "zmq"):
        logging.getLogger(library).setLevel(max(root.level, logging.INFO))
    logging.captureWarnings(True)


class PlainFormatter(logging.Formatter):
    """`2026-11-23T21:00:00.123Z info text`; a traceback follows on lines of its own, indented."""

    def format(self, record: logging.LogRecord) -> str:
        """One record; what comes from outside cannot begin a line."""
        text = _escaped(redact_text(record.getMessage()))
        line = f"{_utc(record)} {record.levelname.lower()} {text}"
        return "\n    ".join([line, *_traceback(self, record)])


class JsonFormatter(logging.Formatter):
    """An object per line: time, level, logger, thread, message; traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One record."""
        fields = {
            "time": _utc(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "thread": record.threadName,
            "message": redact_text(record.getMessage()),
        }
        trace = _traceback(self, record)
        if trace:
            fields["traceback"] = "\n".join(trace)
        # In ASCII, for a standard error of another encoding would not escape it as JSON does.
        line = json.dumps(fields)
        return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", line)


def _dropped(lines: int) -> logging.LogRecord:
    text = "%d lines of the log were dropped here: nobody read it, or its disk was full"
    return logging.LogRecord("trackd.log", logging.WARNING, "", 0, text, (lines,), None)


def _utc(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.msecs):03d}Z"


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    if record.exc_info is None or record.exc_info[0] is None:
        return []
    lines = formatter.formatException(record.exc_info).splitlines()
    return [_escaped(redact_text(line)) for line in lines]


def _escaped(text: str) -> str:
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
