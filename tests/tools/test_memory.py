"""`python -m tools.memory`: what it tracks, and what it refuses."""

import sys
from collections import Counter
from pathlib import Path

import pytest

from tools import memory
from tracker.annotate.prompts_file import load_prompts


def test_an_object_stays_and_another_comes_and_goes(tmp_path: Path) -> None:
    path = tmp_path / "prompts.json"
    memory.write_prompts(path, 5 * memory.TURN)
    content = load_prompts(path)
    assert Counter(placed.prompt.object_id for placed in content.placed) == {1: 5, 2: 5}
    assert [removal.object_id for removal in content.removals] == [2] * 5
    added = [placed.frame for placed in content.placed if placed.prompt.object_id == 2]
    removed = [removal.frame for removal in content.removals]
    assert all(came < went for came, went in zip(added, removed, strict=True))
    assert max(removed) < 5 * memory.TURN


def test_a_clip_that_is_not_there_is_one_line_and_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["memory", "no/such.mp4"])
    assert memory.main() == 2
    assert capsys.readouterr().err == (
        "memory: error: there is no clip no/such.mp4; give --clip FILE\n"
    )
