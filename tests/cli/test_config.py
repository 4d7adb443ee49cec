"""`trackd config example`: the examples of the repository, as an installed package has them."""

from pathlib import Path

import pytest

from tracker.cli.main import main

CONFIGS = Path(__file__).parents[2] / "configs"
NAMES = sorted(path.name for path in CONFIGS.iterdir())


def test_it_lists_the_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "example"]) == 0
    assert capsys.readouterr().out.split() == NAMES
    assert "camera.yaml" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_it_prints_an_example_as_it_is(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "example", name]) == 0
    assert capsys.readouterr().out == (CONFIGS / name).read_text()


def test_it_names_the_examples_where_there_is_no_such(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "example", "camera"]) == 2
    error = capsys.readouterr().err
    assert "there is no example camera" in error
    assert "camera.yaml" in error
