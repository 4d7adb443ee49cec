"""Export of a project for its page: `trackd export` in a process of its own."""

import asyncio
import shutil
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

from tracker.errors import TrackdError, UsageError
from tracker.exporters.base import Layout
from tracker.exporters.registry import EXPORTERS
from tracker.project.folder import Project

_STDERR_BYTES = 64 * 1024


def formats() -> list[dict[str, str]]:
    """All output formats, those of installed packages included, for a list to choose from."""
    known = {spec.name: spec.help for spec in EXPORTERS.built_in}
    return [{"name": name, "help": known.get(name, "")} for name in EXPORTERS.names]


async def export(project: Project, format_name: str) -> Path:
    """Write a project in a format; the file to download, a ZIP of what is a folder.

    It takes the place of the one that was exported before.

    Raises:
        UsageError: There is no such format.
        TrackdError: It failed, as the message of `trackd export` says.
    """
    if format_name not in EXPORTERS.names:
        raise UsageError("there is no such format", f"there are {', '.join(EXPORTERS.names)}")
    spec = EXPORTERS.find(format_name)
    is_folder = spec.layout is not Layout.FILE
    folder = project.folder / "exports"
    target = folder / (format_name if is_folder else f"{format_name}{spec.suffix}")
    await asyncio.to_thread(_clear, folder, target)
    command = (sys.executable, "-m", "tracker.cli.main", "export", str(project.folder))
    try:
        process = await asyncio.create_subprocess_exec(
            *command, "--quiet", "--export", f"{format_name}:{target}", stdout=PIPE, stderr=PIPE
        )
    except OSError as error:
        raise TrackdError(f"the export cannot be started: {error.strerror}", "try again") from error
    try:
        _, said = await process.communicate()
    except asyncio.CancelledError:  # the page went away, or the studio ends
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        lines = said[-_STDERR_BYTES:].decode("utf-8", "replace").strip().splitlines()
        text = lines[-1] if lines else f"it ended with {process.returncode}"
        raise TrackdError(text.removeprefix("trackd: error: "))
    if not is_folder:
        return target
    return Path(await asyncio.to_thread(shutil.make_archive, str(target), "zip", target))


def _clear(folder: Path, target: Path) -> None:
    folder.mkdir(exist_ok=True)
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)
