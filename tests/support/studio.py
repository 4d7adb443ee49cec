"""The studio, served in a thread of the test's process."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tracker.client import AsyncClient

pytest.importorskip("uvicorn", reason="the extra studio is not installed")

import uvicorn

from tracker.studio.access import Access
from tracker.studio.app import studio_app
from tracker.studio.projects import ProjectPages
from tracker.studio.server import server_config


@dataclass(frozen=True)
class Served:
    port: int
    access: Access

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        return f"{self.origin}/?token={self.access.token}"


@contextmanager
def serving_studio(
    connect: Callable[[], AsyncClient],
    *,
    password: str | None = None,
    projects: ProjectPages | None = None,
) -> Iterator[Served]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        access = Access(frozenset({f"http://127.0.0.1:{port}"}), password)
        server = uvicorn.Server(server_config(studio_app(connect, access, projects), drain_s=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.01)
            yield Served(port, access)
        finally:
            server.should_exit = True
            thread.join()
