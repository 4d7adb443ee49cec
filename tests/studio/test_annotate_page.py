"""A person annotates a clip in a real Chromium: boxes, corrections, a crash, export."""

import json
import shutil
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.annotating import Hands, StudioProcess, until
from tests.support.chromium import chromium
from tests.support.three_discs import HEIGHT, WIDTH, box, centre, write_clip
from tracker.cli.main import main

pytest.importorskip("uvicorn", reason="the extra studio is not installed")
pytestmark = [pytest.mark.system, pytest.mark.slow]

FRAMES = 8


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


def opened(browser: Any, studio: StudioProcess) -> Any:
    page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.set_default_timeout(120_000)
    page.wrong = []
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    page.goto(studio.address)
    return page


def test_three_boxes_two_corrections_a_crash_and_export(browser: Any, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    clip = write_clip(videos / "discs.mp4", FRAMES)
    studio = StudioProcess(videos, tmp_path / "projects")
    with studio:
        page = opened(browser, studio)
        page.click("#entries button >> text=videos")
        page.click("#entries button >> text=discs.mp4")
        page.wait_for_url("**/annotate.html?project=*")
        until(page, "document.getElementById('canvas').dataset.seq === '0'")
        hands = Hands(page, WIDTH, HEIGHT)
        began_s = time.monotonic()
        for disc in range(3):
            hands.choose(None)
            hands.drag(*box(disc, 0))
            hands.accept(disc + 1)
        folder = tmp_path / "projects" / "discs"
        drawn = json.loads((folder / "prompts.json").read_text())
        assert [item["prompts"][0]["frame"] for item in drawn["objects"]] == [0, 0, 0]
        studio.kill()
        # On the disk is what the page had said was kept.
        assert json.loads((folder / "prompts.json").read_text()) == drawn
    with studio:
        page = opened(browser, studio)
        page.click("#project-list a >> text=discs")
        until(page, "document.querySelectorAll('#objects li').length === 3")
        hands = Hands(page, WIDTH, HEIGHT)
        hands.until_tracked()
        hands.go(4)
        hands.choose(2)
        hands.click(*centre(1, 4))
        hands.accept(3)
        hands.go(6)
        hands.choose(3)
        x, y = centre(2, 6)
        hands.click(x + 45, y, button="right")
        hands.click(x, y)
        until(page, "document.getElementById('canvas').dataset.draft === '2'")
        hands.accept(3)
        hands.until_tracked()
        bars = json.loads(page.get_attribute("#bars", "data-spans"))
        assert {len(range(spans[0][1], spans[-1][2])) for spans in bars.values()} == {FRAMES}
        exported = {}
        for name in ("davis", "coco-frames"):
            page.select_option("#format", name)
            with page.expect_download() as coming:
                page.click("#export")
            exported[name] = tmp_path / f"{name}.from-page"
            coming.value.save_as(exported[name])
        print(f"first box to last export: {time.monotonic() - began_s:.0f} s")
        assert page.wrong == []

    prompts = str(folder / "prompts.json")
    shutil.copy(prompts, tmp_path / "typed.json")
    command = ["track", str(clip), "--prompts", str(tmp_path / "typed.json"), "--quiet"]
    masks, coco = tmp_path / "masks", tmp_path / "coco.json"
    assert main([*command, "--davis", str(masks), "--coco-frames", str(coco)]) == 0
    assert exported["coco-frames"].read_bytes() == coco.read_bytes()
    with zipfile.ZipFile(exported["davis"]) as archive:
        members = {Path(name).name: archive.read(name) for name in archive.namelist()}
    assert {k: v for k, v in members.items() if k} == {
        path.name: path.read_bytes() for path in masks.iterdir()
    }
    assert len(list(masks.iterdir())) == FRAMES
