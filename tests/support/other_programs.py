"""An environment with programs that read our files: datumaro, label-studio-sdk, TrackEval, DuckDB.

What they declare would bring another OpenCV and years-old releases along, so they are installed
without their dependencies, into an environment of their own that sees the packages of ours. It is
made once, under the cache folder of the user.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

PACKAGES = (
    "datumaro>=1.13.12,<2",
    "label-studio-sdk>=2.1,<3",
    "trackeval>=1.3,<2",
    "duckdb>=1.4,<3",
    # What they import:
    "attrs>=25.3",
    "cachetools>=7,<8",
    "ijson>=3.2.3",
    "imagesize>=2,<3",
    "json-stream>=2.4,<3",
    "json-stream-rs-tokenizer>=0.4",
    "lxml>=6,<7",
    "orjson>=3.10,<4",
    "pandas>=2.3,<3",
    "pyarrow>=25,<27",
    "pytz>=2024.1",
    "ruamel.yaml>=0.19.1,<0.20",
    "shapely>=2.1,<3",
    "tabulate>=0.9",
    "ujson>=5.8",
)


def other_python() -> Path:
    """The Python of the environment; skips the test where it cannot be made."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "trackd-tests"
    key = hashlib.sha256("\n".join((*PACKAGES, sys.prefix, sys.version)).encode()).hexdigest()
    folder = cache / f"other-programs-{key[:12]}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:  # tests run side by side
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            _make(folder)
    return folder / "bin" / "python"


def _make(folder: Path) -> None:
    venv.create(folder, clear=True, with_pip=True, symlinks=True)
    python = folder / "bin" / "python"
    asked = [str(python), "-m", "pip", "install", "-q", "--no-deps", *PACKAGES]
    done = subprocess.run(asked, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot install the programs: {done.stderr.strip()[-300:]}")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    ours = folder / "lib" / version / "site-packages" / "ours.pth"
    ours.write_text(sysconfig.get_path("purelib") + "\n")
    (folder / "complete").touch()
