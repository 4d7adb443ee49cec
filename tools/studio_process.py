"""`trackd studio` in a process of its own, and pages of it in a real Chromium."""

import http.client
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self
from urllib.parse import parse_qs, urlsplit

from tools.serving import Daemon
from tracker.errors import TrackdError

START_S = 60.0
_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = ("--disable-gpu", "--disable-background-networking")


@dataclass
class Studio:
    """The studio of a daemon; a context manager that ends it.

    Attributes:
        python: The command of the interpreter.
        control: Address of the daemon's control socket.
        data: Of its data socket.
        folder: For its log, and for the annotation of files.
    """

    python: ClassVar[tuple[str, ...]] = (sys.executable,)
    control: str
    data: str
    folder: Path

    @classmethod
    def of(cls, daemon: Daemon) -> Self:
        """The studio of a daemon, beside it."""
        config = daemon.config
        return cls(config["control"]["bind"], config["data"]["bind"], daemon.folder)

    def __enter__(self) -> Self:
        command = [*self.python, "-m", "tracker.cli.main", "studio", "--no-browser"]
        command += ["--port", "0", "--control", self.control, "--data", self.data]
        command += ["--projects", str(self.folder / "projects")]
        self._log = self.folder / "studio.txt"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            self.address = self._printed_address()
        except BaseException:
            self.process.kill()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if error is not None:
            print(self._log.read_text(), file=sys.stderr)

    @property
    def origin(self) -> str:
        """Scheme, host and port of the page."""
        parts = urlsplit(self.address)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def token(self) -> str:
        """The token of the printed address."""
        return parse_qs(urlsplit(self.address).query)["token"][0]

    def cookie(self) -> str:
        """The cookie that the token is exchanged for, as browsers send it."""
        parts = urlsplit(self.address)
        connection = http.client.HTTPConnection(parts.netloc, timeout=START_S)
        connection.request("GET", f"/?token={self.token}")
        answer = connection.getresponse()
        connection.close()
        return str(answer.headers["set-cookie"]).partition(";")[0]

    def _printed_address(self) -> str:
        end_s = time.monotonic() + START_S
        while time.monotonic() < end_s and self.process.poll() is None:
            for line in self._log.read_text().splitlines():
                if line.startswith("studio: "):
                    return line.removeprefix("studio: ")
            time.sleep(0.05)
        raise TrackdError(f"the studio did not start: {self._log.read_text()}")


@contextmanager
def chromium() -> Iterator[Any]:
    """A Chromium of the system, driven by Playwright.

    Raises:
        TrackdError: Playwright or Chromium is not installed.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise TrackdError("playwright is not installed", "pip install playwright") from error
    path = next(filter(None, map(shutil.which, _CHROMIUM)), None)
    if path is None:
        raise TrackdError("there is no Chromium", "install the package chromium")
    flags = [*_FLAGS, *(["--no-sandbox"] if os.getuid() == 0 else [])]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=flags)
        try:
            yield browser
        finally:
            browser.close()


def until(page: Any, condition: str, patience_s: float = 60.0) -> None:
    """Wait until JavaScript gives something true; Playwright's own way needs eval.

    Raises:
        TrackdError: It never did.
    """
    end_s = time.monotonic() + patience_s
    while not page.evaluate(condition):
        if time.monotonic() > end_s:
            raise TrackdError(f"never came true in the page: {condition}")
        time.sleep(0.02)
