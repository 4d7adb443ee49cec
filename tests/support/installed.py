"""Packages that are installed as far as Python can tell, for their entry points."""

from pathlib import Path

import pytest


def install(
    folder: Path, monkeypatch: pytest.MonkeyPatch, module: Path | str, group: str, *entries: str
) -> None:
    """Put a module where Python finds it, and its entry points (`NAME = MODULE:ROW`).

    Args:
        folder: Where to; made if need be.
        monkeypatch: Takes it away again.
        module: A Python file, or the text of a module called `plugin`.
        group: Of the entry points.
        entries: They.
    """
    folder.mkdir(exist_ok=True)
    if isinstance(module, Path):
        (folder / module.name).write_bytes(module.read_bytes())
    else:
        (folder / "plugin.py").write_text(module)
    info = folder / "plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *entries]) + "\n")
    monkeypatch.syspath_prepend(str(folder))
