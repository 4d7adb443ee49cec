"""The page with a real camera: a video with true masks, served over RTSP, added and clicked on."""

import base64
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from streams import VideoWriter
from tests.support.chromium import chromium
from tests.support.live_scene import iou
from tests.support.rtsp import RtspCamera
from tools.serving import Daemon
from tools.studio_process import Studio, until

pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.usefixtures("warm_daemons"),
]

DAVIS = Path(__file__).parents[3] / "shared" / "data" / "davis-dev"
SEQUENCE, FRAMES, FPS = "drift-turn", 32, 3  # the car before the smoke, which pico has from a click
HEIGHT, WIDTH = 480, 854
BITS, BLOCK, STEP = 6, 24, 30  # the number of a frame, in black and white blocks at the top left
LEAST_IOU = 0.8

# Keeps what is drawn over the picture.
KEEP_OVERLAY = """() => {
  const draw = CanvasRenderingContext2D.prototype.drawImage;
  CanvasRenderingContext2D.prototype.drawImage = function (image, ...rest) {
    if (image instanceof OffscreenCanvas) window.overlay = image;
    return draw.call(this, image, ...rest);
  };
}"""
# The canvas, and the run lengths of what is drawn over it, row by row, beginning with nothing.
SHOWN = """() => {
  const { width, height } = window.overlay;
  const { data } = window.overlay.getContext("2d").getImageData(0, 0, width, height);
  const runs = [0];
  for (let at = 3, on = false; at < data.length; at += 4) {
    if ((data[at] > 0) !== on) { on = !on; runs.push(0); }
    runs[runs.length - 1] += 1;
  }
  return [document.getElementById("canvas").toDataURL(), runs, width, height];
}"""
Mask = NDArray[np.bool_]


def true_mask(number: int) -> Mask:
    path = DAVIS / "Annotations" / SEQUENCE / f"{number:05}.png"
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)) > 0


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not DAVIS.is_dir():
        pytest.skip("there are no DAVIS videos")
    path = tmp_path_factory.mktemp("camera") / "car.mp4"
    with VideoWriter(path, width=WIDTH, height=HEIGHT, fps=Fraction(FPS)) as video:
        for number in range(FRAMES):
            image = cv2.imread(str(DAVIS / "JPEGImages" / SEQUENCE / f"{number:05}.jpg"))
            for bit in range(BITS):
                image[4 : 4 + BLOCK, 4 + STEP * bit :][:, :BLOCK] = 255 * (number >> bit & 1)
            video.write(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), number, Fraction(1, FPS))
    return path


@pytest.fixture(scope="module")
def camera(clip: Path) -> Iterator[RtspCamera]:
    with RtspCamera(clip, user="viewer", password="s3cret-word") as running:
        yield running


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("daemon"), {"state": {"dir": "state"}}) as running:
        yield running


@pytest.fixture(scope="module")
def studio(daemon: Daemon) -> Iterator[Studio]:
    with Studio.of(daemon) as running:
        yield running


@pytest.fixture(scope="module")
def opened(studio: Studio) -> Iterator[Callable[[], Any]]:
    """Opens a tab."""
    with chromium() as browser:

        def open_tab() -> Any:
            tab = browser.new_context(viewport={"width": 1280, "height": 720}).new_page()
            tab.goto(studio.address)
            tab.evaluate(KEEP_OVERLAY)
            return tab

        yield open_tab


def shown(page: Any) -> tuple[int, Mask]:
    """Number of the frame on the canvas, and the mask that is drawn over it."""
    url, runs, width, height = page.evaluate(SHOWN)
    png = np.frombuffer(base64.b64decode(url.partition(",")[2]), np.uint8)
    image = np.asarray(cv2.imdecode(png, cv2.IMREAD_COLOR))
    scale = image.shape[1] / WIDTH
    middles = [round((4 + BLOCK / 2 + STEP * bit) * scale) for bit in range(BITS)]
    y = middles[0]
    number = sum(int(image[y, x].mean() > 128) << bit for bit, x in enumerate(middles))
    mask_hw = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    return number, mask_hw


def click(page: Any, x: float, y: float, **how: Any) -> None:
    """Click at a place of the source."""
    box = page.locator("#canvas").bounding_box()
    scale = min(box["width"] / WIDTH, box["height"] / HEIGHT)
    left, top = (box["width"] - WIDTH * scale) / 2, (box["height"] - HEIGHT * scale) / 2
    page.locator("#canvas").click(position={"x": left + x * scale, "y": top + y * scale}, **how)


def inside(mask_hw: Mask) -> tuple[int, int]:
    """The point of a mask that is farthest from its edge."""
    distance_hw = cv2.distanceTransform(mask_hw.astype(np.uint8), cv2.DIST_L2, 3)
    y, x = np.unravel_index(int(distance_hw.argmax()), mask_hw.shape)
    return int(x), int(y)


def hold(page: Any) -> int:
    """Hold the picture, one before the last ones of the clip; its number."""
    end_s = time.monotonic() + 120
    while time.monotonic() < end_s:
        page.keyboard.press("Space")
        until(page, "document.getElementById('freeze').ariaPressed === 'true'")
        number, _ = shown(page)
        if 2 <= number <= FRAMES - 16:
            return number
        page.keyboard.press("Space")
        time.sleep(1 / FPS)
    pytest.fail("no frame came")


def overlaps(page: Any, count: int) -> list[float]:
    """IoU of the drawn mask and the true one on frames that follow each other."""
    found: dict[int, float] = {}
    end_s = time.monotonic() + 120
    while len(found) < count and time.monotonic() < end_s:
        number, mask_hw = shown(page)
        if mask_hw.any() and 3 <= number < FRAMES:
            found.setdefault(number, iou(mask_hw, true_mask(number)))
        time.sleep(0.5 / FPS)
    assert len(found) == count, "too few frames with a mask came"
    return list(found.values())


def test_a_camera_is_added_clicked_corrected_renamed_and_removed(
    opened: Callable[[], Any], camera: RtspCamera, daemon: Daemon
) -> None:
    page = opened()
    page.keyboard.press("a")
    page.fill("#add-url", camera.url)
    page.fill("#add-name", "car")
    page.click("#add-go")
    until(page, "document.getElementById('canvas').dataset.seq !== undefined", 120)
    assert "s3cret-word" not in page.content()

    number = hold(page)
    click(page, *inside(true_mask(number)))
    until(page, "document.getElementById('canvas').dataset.draft !== undefined", 120)
    page.keyboard.press("Enter")
    page.wait_for_selector("#objects li")
    found = overlaps(page, 6)
    assert np.median(found) >= LEAST_IOU, found

    with daemon.client() as client:
        (before,) = client.objects("car")
        page.keyboard.press("1")
        number = hold(page)
        beside = cv2.dilate(true_mask(number).astype(np.uint8), np.ones((61, 61))) == 0
        beside[:60] = False  # the number
        click(page, *inside(beside), button="right")
        until(page, "document.getElementById('status').textContent.includes('corrected')", 120)
        page.keyboard.press("Escape")
        page.keyboard.press("1")
        page.keyboard.press("r")
        page.keyboard.type("red car")
        page.keyboard.press("Enter")
        until(page, "document.querySelector('#objects .name').textContent.includes('red car')")
        found = overlaps(page, 6)
        assert np.median(found) >= LEAST_IOU, found

        second = opened()
        second.wait_for_selector("#objects li >> text=red car")
        page.keyboard.press("Delete")
        second.wait_for_selector("#objects li", state="detached")
        second.context.close()
        assert client.objects("car") == []
        assert before.id == 1
    page.context.close()


def test_the_page_says_that_the_daemon_is_gone_and_goes_on_when_it_is_back(
    opened: Callable[[], Any], camera: RtspCamera, daemon: Daemon
) -> None:
    page = opened()
    with daemon.client() as client:
        if not client.streams():
            client.add_stream("car", camera.url)
    until(page, "document.getElementById('canvas').dataset.seq !== undefined", 120)
    daemon.kill()
    until(page, "document.getElementById('banner').textContent.includes('not reached')", 120)
    assert page.locator("#banner.bad").count() == 1
    daemon.start()
    page.evaluate("delete document.getElementById('canvas').dataset.seq")
    until(page, "document.getElementById('canvas').dataset.seq !== undefined", 120)
    until(page, "document.getElementById('banner').textContent.includes('1 running')", 120)
    happened = page.locator("#log").text_content()
    assert "daemon is not reached" in happened and "daemon is back" in happened
    page.context.close()
