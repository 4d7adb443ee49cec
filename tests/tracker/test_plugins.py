"""Registries: what is built in, what packages add, and what becomes of broken packages."""

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.installed import install
from tracker.effects.base import EffectSpec
from tracker.errors import UsageError
from tracker.plugins import Registry

GROUP = "trackd.test_plugins"


@dataclass(frozen=True)
class Row:
    name: str


REGISTRY = Registry("row", Row, GROUP, (Row("one"), Row("two")))


def test_built_in_rows_are_found_by_name_and_others_are_listed():
    assert REGISTRY.find("two") is REGISTRY.built_in[1]
    assert REGISTRY.names == ("one", "two")
    with pytest.raises(UsageError, match="no row is called three; there are one, two"):
        REGISTRY.find("three")


def test_a_package_adds_a_row_that_is_imported_when_it_is_asked_for(tmp_path: Path, monkeypatch):
    text = "from tracker.effects.base import EffectSpec\nROW = EffectSpec('three', '', None)\n"
    monkeypatch.delitem(sys.modules, "plugin", raising=False)
    install(tmp_path / "site", monkeypatch, text, GROUP, "three = plugin:ROW", "one = plugin:ROW")
    registry = Registry("effect", EffectSpec, GROUP, (EffectSpec("one", "ours", None),))
    assert registry.names == ("one", "three")
    assert registry.find("one").help == "ours"  # nobody takes a built-in name over
    assert "plugin" not in sys.modules
    assert registry.find("three").name == "three"
    monkeypatch.delitem(sys.modules, "plugin")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("raise OSError('no licence')", r"cannot be imported: OSError: no licence; repair or"),
        ("ROW = 3", "row three .plugin:ROW. is no Row of this name; its package"),
        ("X = 1", "cannot be imported: AttributeError"),
    ],
)
def test_a_broken_package_is_one_clear_error(tmp_path: Path, monkeypatch, text, says):
    monkeypatch.delitem(sys.modules, "plugin", raising=False)
    install(tmp_path / "site", monkeypatch, text, GROUP, "three = plugin:ROW")
    with pytest.raises(UsageError, match=says):
        REGISTRY.find("three")
    sys.modules.pop("plugin", None)
