"""Settings of a stream's finder: what is wrong is said at once, in files and to clients."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tracker.daemon.config.load import load_config
from tracker.daemon.finding.choice import choose_finder
from tracker.errors import UsageError
from tracker.finders.births import BirthPolicy
from tracker.protocol.fields import FindSettings


def config(folder: Path, find: str) -> Path:
    path = folder / "trackd.yaml"
    path.write_text(f"streams:\n  yard:\n    url: lavfi:testsrc2\n    find: {find}\n")
    return path


@pytest.mark.parametrize(
    ("find", "told"),
    [
        ("{finder: nope}", r"streams\.yard\.find: no finder is called nope; there are everything"),
        ("{finder: text}", r"finder text needs words; say what to find"),
        ('{finder: text, query: " . "}', r"no phrase in ' \. '"),
        ("{finder: motion, query: car}", r"finder motion takes no words"),
        ("{finder: motion, options: {warm: 1}}", r"motion: warm=1: .*; its settings: history"),
        ("{finder: motion, options: {warm_up: -1}}", r"warm_up=-1: "),
        ("{finder: motion, min_score: 1.5}", r"streams\.yard\.find\.min_score: "),
        ("{finder: motion, max_overlap: .nan}", r"streams\.yard\.find\.max_overlap: "),
        ("{finder: motion, max_objects: 0}", r"streams\.yard\.find\.max_objects: "),
        ("{finder: motion, expire_after_s: 0}", r"streams\.yard\.find\.expire_after_s: "),
        (
            "{finder: motion, every_s: 1, every_frames: 2}",
            r"give every_frames or every_s, not both",
        ),
        ("{finder: motion, minscore: 1}", r"find\.minscore: unknown key; did you mean min_score\?"),
        ("{query: car}", r"streams\.yard\.find\.finder: is missing"),
    ],
)
def test_what_is_wrong_in_a_configuration_is_one_line(tmp_path: Path, find: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        load_config(config(tmp_path, find))


def test_a_finder_that_fits_is_taken(tmp_path: Path) -> None:
    find = "{finder: motion, options: {warm_up: 5}, every_frames: 3, min_area: 0.01}"
    settings = load_config(config(tmp_path, find)).streams["yard"].find
    assert settings is not None
    chosen = choose_finder(settings, trusted=False)
    assert (chosen.every_frames, chosen.policy.min_area) == (3, 0.01)


def test_the_limits_are_those_of_files() -> None:
    chosen = choose_finder(FindSettings(finder="motion"), trusted=False)
    assert chosen.policy == BirthPolicy()
    assert chosen.every_frames == 1
    assert choose_finder(FindSettings(finder="everything"), trusted=False).every_frames is None


def test_a_package_that_is_missing_is_named_with_its_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "transformers" else real(name)
    )
    for settings, extra in (
        (FindSettings(finder="text", query="cat"), "text"),
        (FindSettings(finder="detector"), "transformers"),
    ):
        with pytest.raises(UsageError, match=rf"pip install 'trackd\[{extra}\]'"):
            choose_finder(settings, trusted=True)


@pytest.mark.parametrize("model", ["os.system", "/etc", "../weights"])
def test_a_client_names_no_code_and_no_folder(model: str) -> None:
    settings = FindSettings(finder="detector", options={"model": model})
    with pytest.raises(UsageError, match="a client may name no files and no functions"):
        choose_finder(settings, trusted=False)
    assert choose_finder(settings, trusted=True).options == {"model": model}


@pytest.mark.parametrize(
    "wrong",
    [
        {"finder": "../text"},
        {"finder": "a" * 65},
        {"finder": "text", "query": "a" * 5000},
        {"finder": "motion", "options": {str(i): 1 for i in range(65)}},
        {"finder": "motion", "options": {"warm_up": [1]}},
        {"finder": "motion", "timeout_s": 0},
    ],
)
def test_sizes_and_kinds_are_bounded(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FindSettings.model_validate(wrong)
