"""What is refused of a recording before anything is opened."""

from pathlib import Path
from typing import Any

import pytest

from tracker.daemon.config.load import load_config
from tracker.daemon.config.schema import SecurityConfig
from tracker.daemon.record import check
from tracker.daemon.record.check import check_recording, record_roots
from tracker.errors import UsageError
from tracker.protocol.fields import RecordSettings, StreamSettings


def settings(folder: Path | str, url: str = "rtsp://10.0.0.5/main", **more: Any) -> StreamSettings:
    return StreamSettings(url=url, record=RecordSettings(dir=Path(folder), **more))


def test_clients_may_have_recorded_below_the_folders_that_are_listed(tmp_path: Path) -> None:
    roots = (tmp_path / "recordings",)
    check_recording(settings(roots[0] / "mine"), roots)
    check_recording(StreamSettings(url="rtsp://10.0.0.5/main"), ())
    link = tmp_path / "recordings" / "link"
    link.parent.mkdir()
    link.symlink_to(tmp_path)
    for outside in (tmp_path / "else", roots[0] / ".." / "else", link / "else"):
        with pytest.raises(UsageError, match=r"clients may not .*; .*security.record_roots"):
            check_recording(settings(outside), roots)
    with pytest.raises(UsageError, match="clients may not"):
        check_recording(settings(tmp_path), ())


def test_where_clients_have_no_rights_of_the_daemon_they_need_a_list() -> None:
    assert record_roots(SecurityConfig()) is None
    assert record_roots(SecurityConfig(allow_users=("nobody",))) == ()
    listed = SecurityConfig(allow_users=("nobody",), record_roots=(Path("/srv"),))
    assert record_roots(listed) == (Path("/srv"),)


def test_what_cannot_be_recorded_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="not a path from the root"):
        check_recording(settings("recordings"))
    with pytest.raises(UsageError, match="holds control characters"):
        check_recording(settings("/srv/a\nb"))
    with pytest.raises(UsageError, match="a test pattern has no packets to record"):
        check_recording(settings(tmp_path, "lavfi:testsrc2"))
    monkeypatch.setattr(check, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"needs the package mcap; pip install 'trackd\[record\]'"):
        check_recording(settings(tmp_path))


def test_the_configuration_has_folders_relative_to_its_own(tmp_path: Path) -> None:
    path = tmp_path / "trackd.yaml"
    path.write_text(
        "security: {record_roots: [clients]}\n"
        "streams: {door: {url: 'rtsp://10.0.0.5/main', record: {dir: recordings, keep_h: 24}}}\n"
    )
    config = load_config(path)
    assert config.security.record_roots == (tmp_path / "clients",)
    record = config.streams["door"].record
    assert record is not None and record.dir == tmp_path / "recordings"
    path.write_text("streams: {door: {url: 'lavfi:testsrc2', record: {dir: recordings}}}\n")
    with pytest.raises(UsageError, match=r"streams.door.record: a test pattern has no packets"):
        load_config(path)
