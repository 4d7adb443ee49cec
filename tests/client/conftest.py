"""A client and the daemon that it asks, which answers without tracking."""

from collections.abc import Iterator

import pytest

from tests.support.fake_daemon import FakeDaemon, daemon
from tracker.client import Client

PATIENCE_S = 20.0


@pytest.fixture
def fake() -> Iterator[FakeDaemon]:
    with daemon() as fake:
        yield fake


@pytest.fixture
def client(fake: FakeDaemon) -> Iterator[Client]:
    with Client(fake.control, fake.data, timeout_s=PATIENCE_S) as client:
        yield client
