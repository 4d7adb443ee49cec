"""Times in a page of the studio, in a real Chromium: from a click to its mask, age of pictures."""

import time
from dataclasses import dataclass
from typing import Any

from tools.studio_process import until
from tracker.errors import TrackdError

_SIZE = {"width": 1280, "height": 720}
_PATIENCE_S = 60.0
_SETTLE_S = 1.0
# What is drawn is on the screen with the next frame of the browser.
_WATCH = """() => {
  const canvas = document.getElementById("canvas");
  window.ages = [];
  window.waits = [];
  let clicked = null;
  canvas.addEventListener("pointerup", () => { clicked = performance.now(); }, true);
  const observe = (attribute, seen) => new MutationObserver(() => requestAnimationFrame(seen))
    .observe(canvas, { attributes: true, attributeFilter: [attribute] });
  observe("data-seq", () => {
    if (clicked === null && window.ages.length < 5000) {
      window.ages.push(Date.now() - canvas.dataset.capturedNs / 1e6);
    }
  });
  observe("data-draft", () => {
    if (clicked === null || canvas.dataset.draft === undefined) return;
    window.waits.push(performance.now() - clicked);
    clicked = null;
  });
}"""


@dataclass(frozen=True, slots=True)
class PageTimes:
    """Milliseconds.

    Attributes:
        click_to_mask: From the end of a click on a held picture until its mask is on the screen.
        picture_age: Of a picture when it is on the screen, since its packet arrived.
    """

    click_to_mask: tuple[float, ...]
    picture_age: tuple[float, ...]


def page_times(browser: Any, address: str, *, clicks: int, hold_s: float) -> PageTimes:
    """Click on pictures that were held for so long, at places beside each other.

    Raises:
        TrackdError: The page shows no picture, or no mask.
    """
    context = browser.new_context(viewport=_SIZE)
    page = context.new_page()
    try:
        page.goto(address)
        until(page, "document.getElementById('canvas').dataset.seq !== undefined")
        page.evaluate(_WATCH)
        box = page.locator("#canvas").bounding_box()
        for number in range(clicks):
            time.sleep(_SETTLE_S)
            page.keyboard.press("Space")
            time.sleep(hold_s)
            x = box["x"] + box["width"] * (0.3 + 0.4 * number / clicks)
            page.mouse.click(x, box["y"] + box["height"] / 2)
            _wait_for_mask(page, number)
            page.keyboard.press("Escape")
        waits, ages = page.evaluate("[window.waits, window.ages]")
    finally:
        context.close()
    return PageTimes(tuple(waits), tuple(ages))


def _wait_for_mask(page: Any, before: int) -> None:
    try:
        until(page, f"window.waits.length > {before}", _PATIENCE_S)
    except TrackdError as error:
        said = page.evaluate("document.getElementById('status').textContent")
        raise TrackdError(f"no mask in the page within {_PATIENCE_S:g} s: {said}") from error
