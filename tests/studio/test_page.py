"""The page in a real Chromium, with a real daemon: what is on its canvas, and what clicks do."""

import base64
import time
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.chromium import chromium
from tests.support.numbered_clip import (
    HEIGHT,
    RADIUS,
    WIDTH,
    centre,
    number_of,
    numbered,
    write_numbered,
)
from tests.support.small_pico import small_pico_of
from tests.support.studio import Served, serving_studio
from tools.serving import Daemon
from tracker.client import AsyncClient

pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.usefixtures("warm_daemons"),
]

FRAMES = 500
DRAWN = 200
FRAME_STEP_PX = 5.6  # so far the disc moves from one frame to the next, about
PATIENCE_MS = 60_000
# What is drawn is read back in the turn of the browser in which it was drawn.
RECORD = """(count) => {
  const canvas = document.getElementById("canvas");
  window.drawn = [];
  new MutationObserver(() => {
    if (window.drawn.length >= count) return;
    window.drawn.push([Number(canvas.dataset.seq), canvas.toDataURL("image/png")]);
  }).observe(canvas, {attributes: true, attributeFilter: ["data-seq"]});
}"""


def until(page: Any, condition: str, patience_s: float = PATIENCE_MS / 1000) -> None:
    """Wait for a condition; Playwright's own way needs eval, which the page forbids."""
    end_s = time.monotonic() + patience_s
    while not page.evaluate(condition):
        assert time.monotonic() < end_s, f"never came true: {condition}"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("daemon")
    # On a busy machine seconds pass from a held picture to the click on it.
    config = {"model": small_pico_of(folder, 256) | {"history_frames": 250}}
    with Daemon(folder / "daemon", config) as running, running.client() as client:
        clip = write_numbered(folder / "numbered.mp4", FRAMES)
        client.add_stream("numbers", str(clip), realtime=True, loop=True)
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
    until(opened, "document.getElementById('canvas').dataset.seq !== undefined")
    yield opened
    context.close()
    assert wrong == []


def picture_of(url: str) -> NDArray[np.uint8]:
    data = np.frombuffer(base64.b64decode(url.partition(",")[2]), np.uint8)
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def tinted(image_hwc: NDArray[np.uint8], number: int) -> NDArray[np.bool_]:
    """Where a mask is drawn on the disc or beside it: what differs from the bare picture."""
    bare = numbered(number)
    scale = image_hwc.shape[1] / WIDTH
    bare = cv2.resize(bare, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    difference = np.abs(image_hwc.astype(int) - bare.astype(int)).max(axis=2)
    different = difference > 45
    different[: round(40 * scale)] = False  # the number, and the object's name above it
    return cv2.morphologyEx(different.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3))) > 0


def click(page: Any, x: float, y: float, **how: Any) -> None:
    """Click at a place of the source."""
    box = page.locator("#canvas").bounding_box()
    scale = min(box["width"] / WIDTH, box["height"] / HEIGHT)
    left = (box["width"] - WIDTH * scale) / 2
    top = (box["height"] - HEIGHT * scale) / 2
    page.locator("#canvas").click(position={"x": left + x * scale, "y": top + y * scale}, **how)


def held_centre(page: Any) -> tuple[int, int]:
    """Hold the picture; where the disc is on it."""
    page.keyboard.press("Space")
    until(page, "document.getElementById('freeze').ariaPressed === 'true'")
    shown = picture_of(page.evaluate("document.getElementById('canvas').toDataURL()"))
    return centre(number_of(shown))


def objects_in(page: Any) -> list[str]:
    return page.locator("#objects .name").all_text_contents()


def test_a_click_begins_an_object_that_others_see_when_it_is_accepted(
    page: Any, browser: Any, studio: Served, daemon: Daemon
) -> None:
    click(page, *held_centre(page))
    until(page, "!document.getElementById('accept').disabled")
    until(page, "document.getElementById('status').textContent.includes('Enter')")
    with daemon.client() as client:
        assert client.objects("numbers") == []
        page.keyboard.press("Enter")
        page.wait_for_selector("#objects li")
        (found,) = client.objects("numbers")
    other = browser.new_context().new_page()
    other.goto(studio.address)
    other.wait_for_selector("#objects li")
    assert objects_in(other) == objects_in(page) == [f"{found.id} "]
    other.context.close()

    page.keyboard.press("r")
    page.keyboard.type("disc")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#objects .name')?.textContent.includes('disc')")
    page.keyboard.press("z")
    until(page, "document.querySelector('#objects .name')?.textContent.includes('disc') === false")


@pytest.mark.parametrize("slow", [1, 6], ids=["as it is", "with a slow processor"])
def test_masks_are_drawn_on_their_own_frames(page: Any, slow: int) -> None:
    page.set_viewport_size({"width": 900, "height": 640})  # as PNG each picture takes long
    page.wait_for_selector("#objects li")
    page.keyboard.press("Escape")
    if slow > 1:
        session = page.context.new_cdp_session(page)
        session.send("Emulation.setCPUThrottlingRate", {"rate": slow})
    page.evaluate(RECORD, DRAWN)
    until(page, f"window.drawn.length >= {DRAWN}", 240.0)
    drawn = page.evaluate("window.drawn")
    offsets, wrong = set(), []
    for seq, url in drawn:
        shown = picture_of(url)
        number = number_of(shown)
        offsets.add((seq - number) % FRAMES)
        y, x = np.nonzero(tinted(shown, number))
        scale = shown.shape[1] / WIDTH
        # Not its top, where the name stands.
        place = ((x.min() + x.max()) / 2 / scale, y.max() / scale - RADIUS)
        if np.hypot(*np.subtract(place, centre(number))) > FRAME_STEP_PX / 2:
            wrong.append((seq, number, place, centre(number)))
    assert len(offsets) == 1  # the picture is that of the number in the message
    assert wrong == []
    assert len({seq for seq, _ in drawn}) == len(drawn)
    assert [seq for seq, _ in drawn] == sorted(seq for seq, _ in drawn)


def test_the_chosen_object_is_removed_and_brought_back(page: Any, daemon: Daemon) -> None:
    page.wait_for_selector("#objects li")
    page.keyboard.press("1")
    page.keyboard.press("Delete")
    page.wait_for_selector("#objects li", state="detached")
    page.keyboard.press("z")
    page.wait_for_selector("#objects li")


def test_escape_gives_a_draft_up(page: Any, daemon: Daemon) -> None:
    before = objects_in(page)
    page.keyboard.press("x")
    page.keyboard.press("Escape")
    page.keyboard.press("c")
    held_centre(page)
    click(page, 20, 220)
    until(page, "document.getElementById('status').textContent.includes('Enter')")
    page.keyboard.press("Escape")
    until(page, "document.getElementById('accept').disabled")
    with daemon.client() as client:
        assert len(client.objects("numbers")) == len(before) or before == []


def test_a_stream_is_added_in_the_page_and_wrong_ones_are_refused(
    page: Any, daemon: Daemon
) -> None:
    page.keyboard.press("a")
    page.fill("#add-url", "rtsp://user:secret@127.0.0.1:1/live")
    page.fill("#add-name", "yard")
    page.click("#add-go")
    page.wait_for_selector(".tile >> text=yard")
    page.wait_for_selector("#add-dialog", state="hidden")
    assert "secret" not in page.content()
    page.keyboard.press("a")
    page.fill("#add-url", "lavfi:testsrc2")
    page.fill("#add-name", "yard")  # which there is
    page.click("#add-go")
    until(page, "document.getElementById('add-error').textContent.includes('yard')")
    with daemon.client() as client:
        client.remove_stream("yard")
    page.wait_for_selector(".tile >> text=yard", state="detached")


def test_the_page_says_that_the_daemon_is_gone_and_recovers(page: Any, daemon: Daemon) -> None:
    daemon.kill()
    until(page, "document.getElementById('banner').textContent.includes('not reached')")
    daemon.start()
    with daemon.client() as client:
        clip = str(daemon.folder.parent / "numbered.mp4")
        client.add_stream("numbers", clip, realtime=True, loop=True)
    until(page, "document.getElementById('banner').textContent.includes('1 running')")
    page.evaluate("delete document.getElementById('canvas').dataset.seq")
    until(page, "document.getElementById('canvas').dataset.seq !== undefined")
