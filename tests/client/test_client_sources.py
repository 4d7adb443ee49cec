"""What clients of the daemon may name as sources, by its configuration."""

from pathlib import Path
from typing import Any

import pytest

from streams.address import parse_address
from streams.errors import SourceDenied
from tests.support.local_streams import local_streams
from tests.support.operations import FakePublisher, FakeScheduler
from tests.support.streams_clips import write_pattern
from tests.support.supervised import QUICK, wait_until
from tracker.daemon.config.load import load_config
from tracker.daemon.config.schema import SecurityConfig
from tracker.daemon.messages import RequestError
from tracker.daemon.sources.client_sources import describe_sources, ports_of, source_policy
from tracker.errors import UsageError
from tracker.protocol.fields import StreamSettings
from tracker.protocol.replies import ErrorCode

WITH_KEYS = {"server_key": "server.key_secret", "client_keys": "clients"}
WITH_USERS = {"allow_users": [0]}
LOCAL: dict[str, Any] = {}


def allowed(url: str, **security: Any) -> bool:
    policy = source_policy(SecurityConfig.model_validate(security), lambda: {5570})
    try:
        policy.check(parse_address(url))
    except SourceDenied:
        return False
    return True


@pytest.mark.parametrize(
    ("url", "alone", "strangers"),
    [
        ("/home/me/clip.mp4", True, False),
        ("rtsp://192.168.1.20/stream1", True, True),
        ("rtsp://8.8.8.8/stream1", True, True),
        ("http://127.0.0.1:8080/v", True, False),
        ("http://169.254.169.254/latest/meta-data", True, False),
        ("http://[::ffff:169.254.169.254]/", True, False),
        ("udp://@239.1.2.3:5000", True, False),
        ("udp://:5000", True, False),
        ("http://127.0.0.1:5570/", False, False),
        ("http://0x7f.1:5570/", False, False),
        ("webcam:0", True, True),
        ("lavfi:testsrc2", True, True),
    ],
)
def test_who_is_alone_may_name_all_and_strangers_cameras(
    url: str, alone: bool, strangers: bool
) -> None:
    assert allowed(url) is alone
    assert allowed(url, **WITH_KEYS) is strangers
    assert allowed(url, **WITH_USERS) is strangers


def test_the_operator_names_what_else_there_is(tmp_path: Path) -> None:
    for security in (LOCAL, WITH_KEYS, WITH_USERS):
        assert allowed(f"{tmp_path}/clip.mp4", **security, file_roots=[tmp_path])
        hosts = {"source_hosts": ["192.168.1.0/24", "loopback"]}
        assert allowed("rtsp://192.168.1.20/a", **security, **hosts)
        assert allowed("rtsp://127.0.0.1/a", **security, **hosts)
        assert not allowed("rtsp://192.168.2.20/a", **security, **hosts)
        assert not allowed("rtsp://127.0.0.1:5570/a", **security, **hosts)
        assert not allowed("rtsp://192.168.1.20/a", **security, source_hosts=[])
        assert not allowed("clip.mp4", **security, file_roots=[])


def test_roots_are_beside_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "trackd.yaml"
    path.write_text("security: {file_roots: [videos, /srv]}")
    assert load_config(path).security.file_roots == (tmp_path / "videos", Path("/srv"))


@pytest.mark.parametrize("host", ["10.0.0.1/8", "localhost", "2130706433"])
def test_a_host_that_is_none_is_told(tmp_path: Path, host: str) -> None:
    path = tmp_path / "trackd.yaml"
    path.write_text(f"security: {{source_hosts: ['{host}']}}")
    with pytest.raises(UsageError, match=r": security\.source_hosts: "):
        load_config(path)


def test_ports_of_sockets() -> None:
    endpoints = ("tcp://127.0.0.1:5570", "tcp://[::1]:5571", "tcp://*:*", "ipc:///run/x", None)
    assert ports_of(*endpoints) == {5570, 5571}


def test_the_configuration_is_trusted_more_than_clients(tmp_path: Path) -> None:
    clip = write_pattern(tmp_path / "clip.mp4", frames=5)
    settings = StreamSettings(url=str(clip))
    streams, _ = local_streams(
        FakeScheduler(),
        FakePublisher(),
        QUICK,
        policy=source_policy(SecurityConfig.model_validate(WITH_KEYS)),
    )
    with pytest.raises(RequestError) as refused:
        streams.add("theirs", settings)
    assert refused.value.code is ErrorCode.BAD_SOURCE
    assert "security.file_roots" in refused.value.hint
    streams.add("ours", settings, configured=True)
    wait_until(lambda: streams.sources()["ours"].frames > 0, "frames of the configured file")
    assert streams.close_all(20)


def test_what_only_opening_shows_is_a_failure_for_good(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    outside = write_pattern(tmp_path / "clip.mp4", frames=5)
    (tmp_path / "videos" / "link.mp4").symlink_to(outside)
    security = SecurityConfig(file_roots=(tmp_path / "videos",))
    streams, _ = local_streams(
        FakeScheduler(),
        FakePublisher(),
        QUICK,
        policy=source_policy(security),
    )
    streams.add("link", StreamSettings(url=str(tmp_path / "videos" / "link.mp4")))
    wait_until(lambda: streams.sources()["link"].state == "failed", "refused")
    assert "clients may not name" in streams.sources()["link"].error
    assert streams.close_all(20)


@pytest.mark.parametrize(
    ("security", "says"),
    [
        (LOCAL, "any file; any host"),
        (WITH_USERS, "no file; hosts: public, private"),
        (WITH_KEYS | {"file_roots": ["/srv", "/tmp"]}, "files in /srv, files in /tmp; hosts: pub"),
        ({"source_hosts": ["loopback"], "file_roots": []}, "no file; hosts: loopback"),
        (WITH_KEYS | {"source_hosts": []}, "no file; hosts: none"),
    ],
)
def test_what_is_allowed_is_told(security: dict[str, Any], says: str) -> None:
    assert describe_sources(SecurityConfig.model_validate(security)).startswith(says)
