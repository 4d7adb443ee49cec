"""Endpoints of daemons on the machines of a Ray cluster, as these and as others reach them."""

from pathlib import Path

import pytest

from tracker.errors import UsageError
from tracker.fleet.ray_nodes import _reached_at, endpoints_of


@pytest.mark.parametrize(
    ("text", "control", "data"),
    [
        ("", "tcp://127.0.0.1:5570", "tcp://127.0.0.1:5571"),
        ("control: {bind: 'tcp://0.0.0.0:7'}", "tcp://127.0.0.1:7", "tcp://127.0.0.1:5571"),
        ("data: {bind: 'tcp://[::]:8'}", "tcp://127.0.0.1:5570", "tcp://127.0.0.1:8"),
        ("control: {bind: 'tcp://10.0.0.3:7'}", "tcp://10.0.0.3:7", "tcp://127.0.0.1:5571"),
    ],
)
def test_a_daemon_is_reached_where_its_configuration_says(
    tmp_path: Path, text: str, control: str, data: str
) -> None:
    path = tmp_path / "trackd.yaml"
    path.write_text(text)
    assert endpoints_of(path) == (control, data)


def test_other_machines_reach_it_at_the_address_of_its_machine() -> None:
    assert _reached_at("10.0.0.4", "tcp://127.0.0.1:7") == "tcp://10.0.0.4:7"
    assert _reached_at("10.0.0.4", "tcp://10.1.0.4:7") == "tcp://10.1.0.4:7"
    with pytest.raises(UsageError, match="no other machine reaches ipc:"):
        _reached_at("10.0.0.4", "ipc:///run/trackd")
