"""The page in a real Chromium, with a real daemon: what is on its canvas, and what clicks do."""

import base64
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.chromium import chromium
from tests.support.numbered_clip import write_numbered
from tests.support.studio import Served, serving_studio
from tools.serving import Daemon
from tracker.client import AsyncClient
from tracker.studio.app import PREVIEW

FRAMES = 500
PATIENCE_MS = 60_000
# What is drawn is read back in the turn of the browser in which it was drawn.
RECORD = """() => {
  const canvas = document.getElementById("canvas");
  window.drawn = [];
  new MutationObserver(() => {
    if (window.drawn.length >= 200) return;
    window.drawn.push([Number(canvas.dataset.seq), canvas.toDataURL("image/png")]);
  }).observe(canvas, {attributes: true, attributeFilter: ["data-seq"]});
}"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("daemon")
    with Daemon(folder / "daemon") as running, running.client() as client:
        clip = write_numbered(folder / "numbered.mp4", FRAMES)
        client.add_stream("numbers", str(clip), realtime=True, loop=True, preview=PREVIEW)
        yield running


@pytest.fixture(scope="module")
def studio(daemon: Daemon) -> Iterator[Served]:
    def connect() -> AsyncClient:
        return AsyncClient(daemon.config["control"]["bind"], daemon.config["data"]["bind"])

    with serving_studio(connect) as served:
        yield served


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture
def page(browser: Any, studio: Served) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE_MS)
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    opened.goto(studio.address)
    opened.wait_for_function("document.getElementById('canvas').dataset.seq !== undefined")
    yield opened
    context.close()
    assert wrong == []


def picture_of(url: str) -> NDArray[np.uint8]:
    data = np.frombuffer(base64.b64decode(url.partition(",")[2]), np.uint8)
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)
