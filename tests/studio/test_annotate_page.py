"""A person annotates a clip in a real Chromium: boxes, corrections, a crash, export."""

import asyncio
import json
import shutil
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.annotating import Hands, IdleWorker, StudioProcess, until
from tests.support.chromium import chromium
from tests.support.studio import Served, serving_studio
from tests.support.three_discs import HEIGHT, WIDTH, box, centre, write_clip
from tools.serving import free_ports
from tracker.annotate.plan import PlacedPrompt
from tracker.cli.main import main
from tracker.client import AsyncClient
from tracker.project.library import Library
from tracker.project.prompts import ProjectPrompts
from tracker.project.results import Direction
from tracker.project.uploads import Uploads
from tracker.studio import open_project
from tracker.studio import projects as projects_module
from tracker.studio.open_project import OpenProject
from tracker.studio.projects import ProjectPages
from tracker.types import ObjectResult, ObjectState, Prompt, StageTimes, TrackResult

pytest.importorskip("uvicorn", reason="the extra studio is not installed")
pytestmark = [pytest.mark.system, pytest.mark.slow]

FRAMES = 8


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


def opened(browser: Any, address: str) -> Any:
    page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.set_default_timeout(120_000)
    page.wrong = []
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    page.goto(address)
    return page


@pytest.mark.timeout(1200)  # two starts of the studio, two of the model
def test_three_boxes_two_corrections_a_crash_and_export(browser: Any, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    clip = write_clip(videos / "discs.mp4", FRAMES)
    studio = StudioProcess(videos, tmp_path / "projects")
    with studio:
        page = opened(browser, studio.address)
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
        page = opened(browser, studio.address)
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
        exported = {name: download(page, name, tmp_path) for name in ("davis", "coco-frames")}
        print(f"first box to last export: {time.monotonic() - began_s:.0f} s")
        assert page.wrong == []

    shutil.copy(folder / "prompts.json", tmp_path / "typed.json")
    command = ["track", str(clip), "--prompts", str(tmp_path / "typed.json"), "--quiet"]
    masks, coco = tmp_path / "masks", tmp_path / "coco.json"
    assert main([*command, "--davis", str(masks), "--coco-frames", str(coco)]) == 0
    assert exported["coco-frames"].read_bytes() == coco.read_bytes()
    written = {path.name: path.read_bytes() for path in masks.iterdir()}
    assert unpacked(exported["davis"]) == written
    assert len(written) == FRAMES


def download(page: Any, name: str, folder: Path) -> Path:
    """What the page exports in a format."""
    page.select_option("#format", name)
    with page.expect_download() as coming:
        page.click("#export")
    path = folder / f"{name}.from-page"
    coming.value.save_as(path)
    return path


def unpacked(path: Path) -> dict[str, bytes]:
    """The files of an archive by their names, without folders."""
    with zipfile.ZipFile(path) as archive:
        members = {Path(name).name: archive.read(name) for name in archive.namelist()}
    return {name: data for name, data in members.items() if name}


@pytest.fixture
def idle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Served, Library]]:
    """A studio whose workers track nothing."""
    monkeypatch.setattr(open_project, "ProjectWorker", IdleWorker)
    library = Library(tmp_path / "projects", [tmp_path])

    def nobody() -> AsyncClient:
        return AsyncClient(f"tcp://127.0.0.1:{free_ports(1)[0]}")

    pages = ProjectPages(library, Uploads(library, 2**20))
    with library.lock(), serving_studio(nobody, projects=pages) as served:
        yield served, library


def page_at(browser: Any, served: Served, path: str = "annotate.html") -> Any:
    page = opened(browser, served.address)
    page.goto(f"{served.origin}/{path}")
    return page


def test_a_file_is_uploaded_and_what_is_no_video_is_refused(
    browser: Any, idle: tuple[Served, Library], tmp_path: Path
) -> None:
    served, library = idle
    (tmp_path / "notes.mp4").write_text("no video")
    (tmp_path / "large.mp4").write_bytes(b"\0" * (2**20 + 1))
    page = page_at(browser, served)
    for name, says in (("notes.mp4", "source.mp4"), ("large.mp4", "larger than 0.0 GiB")):
        page.set_input_files("#file", tmp_path / name)
        until(page, f"document.getElementById('library-error').textContent.includes('{says}')")
    page.set_input_files("#file", write_clip(tmp_path / "My Discs.mp4", 2))
    page.wait_for_url("**/annotate.html?project=my-discs")
    until(page, "document.getElementById('canvas').dataset.seq === '0'")
    assert library.ids() == ["my-discs"]
    assert page.wrong == []


def test_a_file_that_is_chosen_before_the_projects_are_listed_is_taken(
    browser: Any, idle: tuple[Served, Library], tmp_path: Path
) -> None:
    served, _ = idle
    (tmp_path / "notes.mp4").write_text("no video")
    page = opened(browser, served.address)
    held: list[Any] = []
    page.route("**/projects.json", lambda route: held.append(route))
    page.goto(f"{served.origin}/annotate.html")
    page.set_input_files("#file", tmp_path / "notes.mp4")
    for route in held:
        route.continue_()
    until(page, "document.getElementById('library-error').textContent.includes('source.mp4')")
    assert held


def test_keys_go_to_doubtful_stretches_and_edits_are_taken_back(
    browser: Any, idle: tuple[Served, Library], tmp_path: Path
) -> None:
    served, library = idle
    project = library.add(write_clip(tmp_path / "discs.mp4", FRAMES), "discs")
    prompt = PlacedPrompt(0, Prompt(1, box_xyxy=box(0, 0), label="red"))
    ProjectPrompts().with_prompt(prompt).save(project.prompts_path)
    with project.results() as store:
        for frame in range(FRAMES):
            mask_hw = np.zeros((HEIGHT, WIDTH), np.bool_)
            mask_hw[10:58, 40:90] = frame != 6
            bounds = None if frame == 6 else (40, 10, 90, 58)
            state = ObjectState.OCCLUDED if frame == 6 else ObjectState.VISIBLE
            score = 0.6 if frame == 3 else 1.0
            found = ObjectResult(1, None, state, score, 0.9, bounds, mask_hw)
            times = StageTimes(0.0, 0.0)
            store.put(Direction.FORWARD, frame, TrackResult(frame, (found,), times))
    page = page_at(browser, served, "annotate.html?project=discs")
    hands = Hands(page, WIDTH, HEIGHT)
    until(page, "document.getElementById('bars').dataset.spans?.includes('occluded')")
    until(page, "document.getElementById('canvas').dataset.seq === '0'")
    for key, frame in (("n", 3), ("n", 6), ("p", 3), ("ArrowRight", 4), ("End", 7), ("Home", 0)):
        page.keyboard.press(key)
        until(page, f"document.getElementById('canvas').dataset.seq === '{frame}'")
    hands.choose(1)
    hands.go(5)
    page.keyboard.press("e")
    until(page, "document.querySelector('#undo').disabled === false")
    kept = json.loads(project.prompts_path.read_text())["objects"]
    assert kept[0]["removed_at"] == [5]
    page.keyboard.press("z")
    until(page, "document.querySelector('#undo').disabled")
    assert "removed_at" not in json.loads(project.prompts_path.read_text())["objects"][0]
    assert page.wrong == []


class Slowly:
    """Something that the studio does once the test lets it, and what it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, of: Any, name: str) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.goes_on = threading.Event()
        doing = getattr(of, name)

        async def slow(*asked: Any) -> Any:
            self.asked.append(asked)
            while not self.goes_on.is_set():
                await asyncio.sleep(0.01)
            return await doing(*asked)

        monkeypatch.setattr(of, name, slow)


def test_what_is_asked_twice_while_the_studio_is_slow_is_done_once(
    browser: Any,
    idle: tuple[Served, Library],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served, library = idle
    project = library.add(write_clip(tmp_path / "discs.mp4", 2), "discs")
    boxes = ProjectPrompts()
    for number in (1, 2):
        boxes = boxes.with_prompt(PlacedPrompt(0, Prompt(number, box_xyxy=box(number - 1, 0))))
    boxes.save(project.prompts_path)
    keeping = Slowly(monkeypatch, OpenProject, "prompt")
    removing = Slowly(monkeypatch, OpenProject, "remove_object")
    exporting = Slowly(monkeypatch, projects_module, "export")
    page = page_at(browser, served, "annotate.html?project=discs")
    hands = Hands(page, WIDTH, HEIGHT)
    until(page, "document.getElementById('canvas').dataset.seq === '0'")
    page.click("#export")
    page.mouse.move(*hands.at(200, 20))
    page.mouse.down()
    page.mouse.move(*hands.at(240, 60))
    page.mouse.up()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    keeping.goes_on.set()
    until(page, "document.querySelectorAll('#objects li').length === 3")
    hands.choose(1)
    page.keyboard.press("Delete")
    page.keyboard.press("Delete")
    removing.goes_on.set()
    until(page, "document.querySelectorAll('#objects li').length === 2")
    page.keyboard.press("Delete")  # nothing is chosen
    page.keyboard.press("z")
    until(page, "document.querySelectorAll('#objects li').length === 3")
    assert [len(slowly.asked) for slowly in (keeping, removing, exporting)] == [1, 1, 1]
    assert list(library.open("discs").prompts().object_ids) == [1, 2, 3]
    exporting.goes_on.set()
    assert page.wrong == []
