"""Configuration of sinks."""

from pathlib import Path

import pytest

from tracker.daemon.config.load import load_config
from tracker.daemon.config.schema import DaemonConfig, NotifyConfig
from tracker.daemon.notify.notifier import Notifier
from tracker.errors import UsageError


@pytest.mark.parametrize(
    ("url", "more", "says"),
    [
        ("ftp://example.org/hunter2", "", "no URL of http or https"),
        ("https://user:hunter2@example.org/", "", "holds a login"),
        ("http://example.org/hunter2", "", "is not https"),
        ("https://10.0.0.8/hunter2", "", "10.0.0.8 is no public address"),
        ("https://169.254.169.254/hunter2", "allow_private: true", "is no public address"),
        ("https://example.org:99999/hunter2", "", "no URL"),
    ],
)
def test_a_url_that_is_never_posted_to_is_refused_without_telling_it(
    tmp_path: Path, url: str, more: str, says: str
) -> None:
    path = tmp_path / "trackd.yaml"
    text = f"notify: {{webhooks: [{{url: '{url}', secret_file: secret, {more}}}]}}"
    path.write_text(text)
    with pytest.raises(UsageError, match=rf"notify\.webhooks\.0\.url: .*{says}") as refused:
        load_config(path)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{webhooks: [{urll: x}]}", r"notify\.webhooks\.0\.urll: unknown key.*did you mean url"),
        ("{mqtt: {host: h, prot: 1}}", r"notify\.mqtt\.prot: unknown key.*did you mean port"),
        ("{mqtt: {host: h, events: [zones.*]}}", r"notify\.mqtt\.events: no event has a name like"),
        ("{mqtt: {host: h, password_file: f}}", "password_file goes with username"),
        ("{mqtt: {host: h, topic_prefix: 'a/#'}}", "topic_prefix"),
        ("{webhooks: [{url: 'https://é.org', secret_file: f}]}", "url: .*match pattern"),
    ],
)
def test_a_mistake_says_where_it_is(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "trackd.yaml"
    path.write_text(f"notify: {text}")
    with pytest.raises(UsageError, match=says):
        load_config(path)


def test_files_of_sinks_start_at_the_folder_of_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "trackd.yaml"
    path.write_text(
        "notify:\n"
        "  mqtt: {host: h, username: u, password_file: pass, tls: {ca_file: ca.pem}}\n"
        "  webhooks: [{url: 'https://example.org/', secret_file: key}]\n"
    )
    notify = load_config(path).notify
    assert notify.mqtt is not None and notify.mqtt.tls is not None
    assert notify.mqtt.password_file == tmp_path / "pass"
    assert notify.mqtt.tls.files == (tmp_path / "ca.pem", None, None)
    assert notify.webhooks[0].secret_file == tmp_path / "key"


def test_a_url_is_not_shown_where_a_configuration_is() -> None:
    hooks = {"webhooks": [{"url": "https://example.org/hunter2", "secret_file": "key"}]}
    assert "hunter2" not in repr(DaemonConfig.model_validate({"notify": hooks}))


@pytest.mark.parametrize(("content", "says"), [(None, "cannot read"), (b"short", "has 5 bytes")])
def test_a_secret_that_is_missing_or_short_is_refused(
    tmp_path: Path, content: bytes | None, says: str
) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    hooks = [{"url": "https://example.org/", "secret_file": path}]
    with pytest.raises(UsageError, match=says):
        Notifier.from_config(NotifyConfig.model_validate({"webhooks": hooks}))
