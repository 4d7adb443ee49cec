"""What the README shows is what the tests run."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["subscriber.py", "subscriber.mjs", "subscriber.cpp"])
def test_the_readme_shows_the_subscribers_as_they_are(name: str) -> None:
    code = (ROOT / "tools" / "subscribers" / name).read_text().strip()
    assert code in (ROOT / "README.md").read_text()
