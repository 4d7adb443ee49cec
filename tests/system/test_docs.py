"""What the pages show is true: links lead somewhere, commands exist, blocks run, examples load."""

import json
import os
import re
import shlex
import subprocess
import tomllib
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pydantic import BaseModel, TypeAdapter

from streams import VideoWriter
from tests.support.documents import (
    ROOT,
    Block,
    anchors_of,
    blocks_of,
    commands_of,
    links_of,
    name_of,
    pages,
)
from tests.support.warm_python import python
from tools import reference
from tools.serving import Daemon
from tracker.annotate.prompts_file import PromptsFile
from tracker.cli.main import build_parser
from tracker.daemon.config.load import load_config
from tracker.daemon.config.schema import DaemonConfig
from tracker.effects.registry import EFFECTS
from tracker.exporters.registry import EXPORTERS
from tracker.finders.registry import FINDERS
from tracker.fleet.config import load_fleet
from tracker.importers.registry import IMPORTERS
from tracker.protocol.data import EventMessage, FrameMessage, MasksMessage
from tracker.protocol.replies import FindResult, PromptResult, Reply
from tracker.protocol.requests import REQUEST
from tracker.protocol.schema import protocol_schema
from tracker.segmenters.registry import SEGMENTERS

PAGES = pages()
BLOCKS = [block for page in PAGES for block in blocks_of(page)]
HEIGHT, WIDTH, FRAMES = 560, 720, 7  # the prompts of the pages lie within
BLOCK_TIMEOUT_S, PAGE_TIMEOUT_S = 600, 1800  # a hang; a page takes a minute
SUBSCRIBERS = {"js": "subscriber.mjs", "cpp": "subscriber.cpp"}
OTHER_PROGRAMS = ("pip", "git", ".", "SAM2_BUILD_CUDA=0", "pre-commit", "sqlite3")
DATA = {"masks": MasksMessage, "event": EventMessage, "frame": FrameMessage}
RESULT: TypeAdapter[PromptResult | FindResult] = TypeAdapter(PromptResult | FindResult)
# The daemon runs already, on ports of its own, and `watch` would not end.
SHELL = """\
trackd() {{
  case "$1" in
    serve) ;;
    doctor) {python} -m tracker.cli.main "$@" --config {config} ;;
    watch) shift; {python} -m tracker.cli.main watch --count 1 "$@" ;;
    *) {python} -m tracker.cli.main "$@" ;;
  esac
}}
set -euo pipefail
"""


def in_language(*languages: str) -> "pytest.MarkDecorator":
    found = [block for block in BLOCKS if block.language in languages]
    assert found
    return pytest.mark.parametrize("block", found, ids=lambda block: block.name)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links_of(page):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{link}: there is no {path}"
        assert not anchor or anchor in anchors_of(target), f"{link}: no such heading"


def test_pages_of_the_documentation_link_only_among_themselves() -> None:
    """What lies outside docs/ would be missing where the pages are served."""
    docs = ROOT / "docs"
    for page in docs.rglob("*.md"):
        for link in links_of(page):
            assert (page.parent / link.partition("#")[0]).resolve().is_relative_to(docs), link


def test_every_language_is_checked() -> None:
    checked = {"console", "python", "yaml", "json", "text", "toml", *SUBSCRIBERS}
    assert {block.language for block in BLOCKS} <= checked


def test_the_readme_is_short_and_its_figures_are_those_of_the_benchmarks() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 120
    measured = (ROOT / "docs" / "benchmarks.md").read_text().splitlines()
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert len(tables) == 10
    assert all(line in measured for line in tables)


@pytest.mark.parametrize("name", ["cli.md", "configuration.md"])
def test_the_reference_is_that_of_the_program(name: str) -> None:
    """If this fails: python -m tools.reference."""
    assert (ROOT / "docs" / name).read_text() == reference.pages()[name]


def test_the_page_of_the_configuration_has_every_key_of_its_schema() -> None:
    schema = DaemonConfig.model_json_schema()
    text = (ROOT / "docs" / "configuration.md").read_text()
    parts = [schema, *schema["$defs"].values()]
    keys = {key for part in parts for key in part.get("properties", ())}
    assert keys - set(re.findall(r"^(?:## |\| `)(\w+)", text, re.MULTILINE)) == set()


def test_the_protocol_page_has_every_operation() -> None:
    text = (ROOT / "docs" / "protocol.md").read_text()
    for operation in protocol_schema()["control"]["results"]:
        assert f"`{operation}`" in text


@in_language("console")
def test_commands_exist(block: Block) -> None:
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets is not None
    for command in commands_of(block):
        words = shlex.split(command)
        match words:
            case ["trackd", *arguments]:
                if arguments != ["--version"]:
                    build_parser().parse_args(arguments)
            case ["make", target]:
                assert target in targets[1].split(), command
            case ["python", "-m", module, *_]:
                assert find_spec(module) is not None, command
            case ["python", program, *_]:
                assert (ROOT / program).is_file(), command
            case [program, *_]:
                assert program in OTHER_PROGRAMS, command
        assert words[0] == "trackd" or block.reason, f"{command}: say why it is not run"


@in_language("yaml")
def test_yaml_is_a_configuration(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "trackd.yaml"
    path.write_text(block.code)
    if block.page == "docs/how-to/fleet.md":
        load_fleet(path, {"DOOR_PASSWORD": "secret"})
    else:
        load_config(path)


@in_language("toml")
def test_entry_points_are_of_groups_that_are_read(block: Block) -> None:
    read = {row.group for row in (EXPORTERS, EFFECTS, SEGMENTERS, FINDERS, IMPORTERS)}
    assert tomllib.loads(block.code)["project"]["entry-points"].keys() <= read


@in_language("json")
def test_json_is_of_the_protocol(block: Block) -> None:
    values = values_of(block.code)
    assert values
    for value in values:
        assert as_sent(value) == value, "a name that is read for compatibility, not sent"


def as_sent(value: dict[str, Any]) -> dict[str, Any]:
    """The message again, with the names that its model has."""
    text = json.dumps(value)
    if "op" in value:
        message = REQUEST.validate_json(text)
    elif "ok" in value:
        message = Reply.model_validate_json(text)
        if message.ok:
            result = RESULT.validate_json(json.dumps(message.result))
            message = message.model_copy(update={"result": plain(result)})
    elif "type" in value:
        message = DATA[value["type"]].model_validate_json(text)
    else:
        message = PromptsFile.model_validate_json(text)
    return plain(message)


def plain(message: BaseModel) -> dict[str, Any]:
    return dict(json.loads(message.model_dump_json(exclude_unset=True)))


def values_of(text: str) -> list[dict[str, Any]]:
    """The JSON objects that follow each other in a text."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(text):
        value, at = decoder.raw_decode(text, at)
        found.append(value)
        at += len(text[at:]) - len(text[at:].lstrip())
    return found


@in_language(*SUBSCRIBERS)
def test_a_page_shows_the_subscribers_as_they_are(block: Block) -> None:
    path = ROOT / "examples" / "subscribers" / SUBSCRIBERS[block.language]
    assert block.code.strip() == path.read_text().strip()


def test_the_python_subscriber_is_shown_as_it_is() -> None:
    code = (ROOT / "examples" / "subscribers" / "subscriber.py").read_text()
    assert code in [block.code for block in BLOCKS if block.language == "python"]


def runnable(page: Path) -> list[Block]:
    """The blocks of a page that are run; a subscriber is run by a test of its own."""
    return [
        block
        for block in blocks_of(page)
        if block.language in ("console", "python")
        and block.reason is None
        and "sys.argv" not in block.code
    ]


@pytest.mark.slow
@pytest.mark.timeout(PAGE_TIMEOUT_S)
@pytest.mark.parametrize("page", [page for page in PAGES if runnable(page)], ids=name_of)
def test_the_blocks_of_a_page_run_one_after_the_other(
    page: Path,
    tmp_path: Path,
    documented_daemon: Daemon,
    door: dict[str, str],
) -> None:
    prepare(page, tmp_path)
    environment = (
        os.environ | door | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error:::__main__"}
    )
    config = shlex.quote(str(documented_daemon.path))
    shell = SHELL.format(python=shlex.join(python()), config=config)
    for block in runnable(page):
        command = (
            ["bash", "-c", shell + block.code]
            if block.language == "console"
            else [*python(), "-c", block.code]
        )
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=BLOCK_TIMEOUT_S,
        )
        assert done.returncode == 0, f"{block.name}\n{done.stdout}\n{done.stderr}"


def prepare(page: Path, folder: Path) -> None:
    """The files that the pages speak of: a clip, pictures, a mask, prompts, an address."""
    pictures = [picture(index) for index in range(FRAMES)]
    with VideoWriter(folder / "clip.mp4", width=WIDTH, height=HEIGHT, fps=Fraction(25)) as video:
        for index, image in enumerate(pictures):
            video.write(image, index, Fraction(1, 25))
    (folder / "frames").mkdir()
    for index, image in enumerate(pictures[:6]):
        cv2.imwrite(str(folder / "frames" / f"{index:05}.jpg"), image[:, :, ::-1])
    cv2.imwrite(str(folder / "first.png"), np.where(found(0), 1, 0).astype(np.uint8))
    prompts = [block.code for block in blocks_of(page) if '"objects": [\n' in block.code]
    for text in prompts:
        (folder / "prompts.json").write_text(text)
    address = folder / "door.url"
    address.write_text(f"lavfi:testsrc2=size={WIDTH}x{HEIGHT}:rate=5,realtime\n")
    address.chmod(0o600)


def found(index: int) -> "np.typing.NDArray[np.bool_]":
    """Where the object of the clip is."""
    mask_hw = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask_hw[380:548, 450 + 2 * index : 702 + 2 * index] = True
    return mask_hw


def picture(index: int) -> "np.typing.NDArray[np.uint8]":
    """A red box that moves over a ground of waves."""
    ys, xs = np.mgrid[:HEIGHT, :WIDTH]
    waves = [90 + 30 * np.sin(xs / 40), 110 + 30 * np.cos(ys / 56), 0 * xs + 80]
    image = np.stack(waves, axis=-1).astype(np.uint8)
    image[found(index)] = (220, 40, 40)
    return image
