"""A whole daemon, which the pages and the examples talk to."""

from collections.abc import Iterator

import pytest

from tests.support.small_pico import small_pico_of
from tools.serving import Daemon


@pytest.fixture(scope="module", autouse=True)
def of_all_tests(warm_daemons: None) -> None:
    """Daemons start faster."""


@pytest.fixture(scope="session")
def documented_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("documented")
    with Daemon(folder, {"model": small_pico_of(folder)}) as running:
        yield running


@pytest.fixture
def door(documented_daemon: Daemon) -> Iterator[dict[str, str]]:
    """The environment of a client; the daemon has no stream before and none afterwards."""
    config = documented_daemon.config
    yield {"TRACKD_CONTROL": config["control"]["bind"], "TRACKD_DATA": config["data"]["bind"]}
    with documented_daemon.client() as client:
        for stream in client.streams():
            client.remove_stream(stream.stream)
