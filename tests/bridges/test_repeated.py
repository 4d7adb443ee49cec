"""Warnings that may come with every frame, for weeks."""

import logging

import pytest

from tracker.bridges.repeated import RepeatedWarning


def test_a_warning_that_repeats_is_one_line_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now_s = 100.0
    warning = RepeatedWarning(logging.getLogger("trackd.test"), lambda: now_s)
    for frame in range(3000):  # 100 s at 30 a second
        now_s = 100.0 + frame / 30
        warning.say("a frame was left out")
    assert [record.getMessage() for record in caplog.records] == [
        "a frame was left out",
        "a frame was left out (and 1799 times since the last line)",
    ]
