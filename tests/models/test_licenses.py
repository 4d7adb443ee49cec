"""The licenses of weights: in the registry, in the package and in what is loaded, the same."""

import tomllib
from pathlib import Path

import pytest

from tracker.models import REGISTRY, load_model
from tracker.models.checkpoints import checkpoint_path

ROOT = Path(__file__).parents[2]
EMBEDDED = [spec for spec in REGISTRY.values() if spec.embedded]


@pytest.fixture(scope="module")
def project() -> dict[str, object]:
    table: dict[str, object] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return table


def test_the_package_declares_the_license_of_the_weights_that_it_carries(
    project: dict[str, object],
) -> None:
    licenses = {"Apache-2.0", *(spec.license.spdx for spec in EMBEDDED)}
    assert set(str(project["license"]).split(" AND ")) == licenses


def test_the_texts_are_packaged_and_name_what_they_are_for(project: dict[str, object]) -> None:
    assert project["license-files"] == ["LICENSE", "LICENSE-weights.md"]
    text = (ROOT / "LICENSE-weights.md").read_text()
    for spec in EMBEDDED:
        assert spec.license.spdx in text and spec.filename in text
        assert spec.license.spdx in checkpoint_path(spec).with_suffix(".md").read_text()


@pytest.mark.slow
def test_a_loaded_model_carries_it_but_for_weights_of_the_user() -> None:
    pico = REGISTRY["pico"]
    assert load_model("pico", device="cpu", dtype="fp32").license == pico.license
    own = load_model("pico", checkpoint=checkpoint_path(pico), device="cpu", dtype="fp32")
    assert own.license is None
