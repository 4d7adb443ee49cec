"""What pip installs works without the checkout: the package, and the client alone.

The new environments take what is heavy, such as torch, from this one; the test that is marked
`network` takes everything from the package index.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from dataclasses import dataclass
from pathlib import Path

import cv2
import pytest
import yaml

from tests.support.documents import ROOT
from tests.support.moving_square import SIDE, square_xy, write_clip
from tools.serving import free_ports

pytestmark = pytest.mark.slow

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
TIMEOUT_S = 300
INSTALL = ("-m", "pip", "install", "--quiet", "--no-compile")
CLIENT = """
import sys

sys.modules |= dict.fromkeys(sys.argv[1:])  # cannot be imported
from tracker.client import Client

with Client(timeout_s=120) as client:
    client.add_stream("wheel", "lavfi:testsrc2=size=160x120:rate=5")
    with client.results("wheel", timeout_s=120) as results:
        client.prompt("wheel", box=(20, 20, 100, 100), frame=next(results))
        result = next(one for one in results if one.objects)
        assert result.mask(1).shape == (120, 160)
    client.remove_stream("wheel")
"""


@dataclass(frozen=True)
class Environment:
    """A virtual environment, and an empty folder to work in."""

    folder: Path
    work: Path

    def run(self, *command: str, **variables: str) -> str:
        """Run one of its programs; return what it prints."""
        done = subprocess.run(
            [str(self.folder / "bin" / command[0]), *command[1:]],
            cwd=self.work,
            env=self.variables() | variables,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def variables(self) -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def share(self) -> None:
        """Let it import what this environment has, after what is its own."""
        folder = self.run("python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
        shared = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        Path(folder.strip(), "shared.pth").write_text("\n".join(sorted(shared)) + "\n")


def new_environment(tmp_path: Path) -> Environment:
    environment = Environment(tmp_path / "environment", tmp_path / "elsewhere")
    environment.work.mkdir()
    command = [sys.executable, "-m", "venv", "--without-pip", str(environment.folder)]
    subprocess.run(command, check=True)
    return environment


def build(tree: Path, project: str) -> Path:
    """Build a wheel from a copy of the checkout, so that no earlier build is mixed in."""
    for name in ("tracker", "streams", "configs", "clients"):
        ignored = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
        shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=ignored)
    for path in [ROOT / "pyproject.toml", ROOT / "README.md", *ROOT.glob("LICENSE*")]:
        shutil.copy(path, tree)
    out = tree / "dist"
    flags = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(out)]
    command = [sys.executable, "-m", "pip", "wheel", *flags, str(tree / project)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    (wheel,) = out.glob("*.whl")
    return wheel


@pytest.fixture
def installed(tmp_path: Path) -> Environment:
    """The package without its requirements, which this environment lends."""
    wheel = build(tmp_path / "tree", ".")
    environment = new_environment(tmp_path)
    environment.share()
    environment.run("python", *INSTALL, "--no-deps", str(wheel))
    shutil.rmtree(tmp_path / "tree")
    return environment


def test_an_installed_package_tracks_a_file_and_serves(installed: Environment) -> None:
    where = installed.run("python", "-c", "import tracker; print(tracker.__file__)")
    assert Path(where.strip()).is_relative_to(installed.folder)
    assert installed.run("trackd", "--version") == f"trackd {VERSION}\n"
    installed.run("python", "-m", "pip", "check")
    example = installed.run("trackd", "config", "example", "camera.yaml")
    assert example == (ROOT / "configs" / "camera.yaml").read_text()

    write_clip(installed.work / "clip.mp4", 5)
    x, y = square_xy(0)
    box = f"1:{x},{y},{x + SIDE},{y + SIDE}"
    installed.run("trackd", "track", "clip.mp4", "--box", box, "--davis", "masks")
    masks = sorted((installed.work / "masks").glob("*.png"))
    assert len(masks) == 5
    assert (cv2.imread(str(masks[-1]), cv2.IMREAD_UNCHANGED) > 0).sum() > SIDE * SIDE / 2

    serve_and_prompt(installed)


def serve_and_prompt(installed: Environment) -> None:
    """A daemon of the environment, and a client of it."""
    control, data, latest, http = free_ports(4)
    endpoints = {
        "TRACKD_CONTROL": f"tcp://127.0.0.1:{control}",
        "TRACKD_DATA": f"tcp://127.0.0.1:{data}",
    }
    config = {
        "control": {"bind": endpoints["TRACKD_CONTROL"]},
        "data": {
            "bind": endpoints["TRACKD_DATA"],
            "latest_bind": f"tcp://127.0.0.1:{latest}",
        },
        "http": {"port": http},
    }
    (installed.work / "trackd.yaml").write_text(yaml.safe_dump(config))
    command = [str(installed.folder / "bin" / "trackd"), "serve", "--config", "trackd.yaml"]
    with subprocess.Popen(command, cwd=installed.work, env=installed.variables()) as daemon:
        try:
            installed.run("python", "-c", CLIENT, **endpoints)
            daemon.terminate()
            assert daemon.wait(60) == 0
        finally:
            daemon.kill()


@pytest.fixture(scope="module")
def client_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("tree"), "clients/python")


def test_the_client_alone_needs_no_tracker(
    client_wheel: Path, tmp_path: Path, door: dict[str, str]
) -> None:
    environment = new_environment(tmp_path)
    environment.share()
    environment.run("python", *INSTALL, "--no-deps", str(client_wheel))
    version = "from importlib.metadata import version; print(version('trackd-client'))"
    assert environment.run("python", "-c", version) == f"{VERSION}\n"
    environment.run("python", "-c", CLIENT, "torch", "av", "sam2", "yaml", "rich", **door)
    lacks = "from importlib.util import find_spec; assert find_spec('tracker.{}') is None"
    for package in ("cli", "daemon", "engine", "models"):
        environment.run("python", "-c", lacks.format(package))


@pytest.mark.network
def test_the_client_alone_is_small(
    client_wheel: Path, tmp_path: Path, door: dict[str, str]
) -> None:
    environment = new_environment(tmp_path)
    pip = [sys.executable, "-m", "pip", "--python", str(environment.folder / "bin" / "python")]
    command = [*pip, "install", "--quiet", "--no-compile", str(client_wheel)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    if done.returncode:
        pytest.skip(f"pip cannot install the client: {done.stderr.strip().splitlines()[-1:]}")
    environment.run("python", "-c", CLIENT, "torch", **door)
    subprocess.run([*pip, "check"], check=True, timeout=TIMEOUT_S)
    files = [path for path in environment.folder.rglob("*") if path.is_file()]
    assert sum(path.lstat().st_size for path in files) < 400 * 2**20
