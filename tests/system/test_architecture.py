"""The direction of imports, as the contracts in pyproject.toml state it."""

import subprocess
import sys
import tomllib
from pathlib import Path


def test_imports_keep_the_contracts() -> None:
    root = Path(__file__).parents[2]
    settings = tomllib.loads((root / "pyproject.toml").read_text())
    count = len(settings["tool"]["importlinter"]["contracts"])
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]
    run = subprocess.run(
        [*command, "--no-cache"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"{count} kept, 0 broken" in run.stdout
