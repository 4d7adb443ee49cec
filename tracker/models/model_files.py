"""Files of the catalogue's models on this machine, and how they get here."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tracker.atomic import write_atomically
from tracker.errors import ModelError, OutputError
from tracker.models.catalog import CatalogModel, HubFiles, OwnFiles, WebFiles
from tracker.models.checkpoints import models_dir
from tracker.models.download import OnProgress, download

#: No pickles: of weights, safetensors alone.
_HUB_FILES = ["*.json", "*.safetensors", "*.txt", "tokenizer.model"]
_REVISIONS = "revisions.json"
# The client of the hub reads it when it is imported, which is when a model is looked for.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


def model_folder(model: CatalogModel) -> Path | None:
    """The folder of a model's files; None where they are not here, or not all of them.

    Nothing is asked of the network.

    Raises:
        ModelError: The record of revisions is damaged.
    """
    if isinstance(model.files, HubFiles):
        return _hub_folder(model.files)
    folder = models_dir() / model.name
    files = model.files
    names = files.names if isinstance(files, OwnFiles) else [file.name for file in files.files]
    return folder if all((folder / name).is_file() for name in names) else None


def require_folder(model: CatalogModel) -> Path:
    """The folder of a model's files.

    Raises:
        ModelError: They are not here; the hint says how to get them.
    """
    folder = model_folder(model)
    if folder is not None:
        return folder
    if isinstance(model.files, OwnFiles):
        where = models_dir() / model.name
        raise ModelError(
            f"no weights of {model.name}: looked for {', '.join(model.files.names)} in {where}",
            f"{model.files.how}, and put them there",
        )
    raise ModelError(f"no weights of {model.name} here", f"run `trackd models get {model.name}`")


def folder_bytes(folder: Path) -> int:
    """Bytes of the files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def get_model(model: CatalogModel, *, revision: str | None, on_progress: OnProgress) -> Path:
    """Fetch a model's files, going on from what an earlier call left, and give their folder.

    The revision of a hub repository is recorded: from then on it is that one that is loaded,
    whatever its owner publishes, until another is asked for.

    Args:
        model: What to fetch.
        revision: Commit of a hub repository; None for the recorded one, else its newest.
        on_progress: Called with bytes, of models that are not of the hub; the hub shows its own.

    Raises:
        ModelError: The server cannot be reached, or has no such files; users bring them.
        OutputError: The files cannot be written.
    """
    files = model.files
    if isinstance(files, HubFiles):
        return _get_from_hub(model.name, files, revision)
    if isinstance(files, OwnFiles):
        raise ModelError(
            f"{model.name} is not published where trackd could fetch it",
            f"{files.how}, and put {', '.join(files.names)} into {models_dir() / model.name}",
        )
    return _get_from_web(model.name, files, on_progress)


def _get_from_web(name: str, files: WebFiles, on_progress: OnProgress) -> Path:
    folder = models_dir() / name
    for file in files.files:
        if not (folder / file.name).is_file():
            download(file.url, folder / file.name, sha256=file.sha256, on_progress=on_progress)
    return folder


def _hub_folder(files: HubFiles) -> Path | None:
    """The snapshot of the recorded revision in the hub's own cache."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    revision = _revisions().get(files.repo)
    if revision is None:
        return None
    try:
        folder = snapshot_download(
            files.repo,
            revision=revision,
            allow_patterns=_HUB_FILES,
            ignore_patterns=list(files.left_out),
            local_files_only=True,
        )
    except (LocalEntryNotFoundError, FileNotFoundError, ValueError):
        return None
    return Path(folder)


def _get_from_hub(name: str, files: HubFiles, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    known, repo = _revisions(), files.repo
    wanted = revision or known.get(repo)
    with _hub_errors(name, repo, wanted):
        folder = Path(
            snapshot_download(
                repo,
                revision=wanted,
                allow_patterns=_HUB_FILES,
                ignore_patterns=list(files.left_out),
            )
        )
    if not any(folder.rglob("*.safetensors")):
        raise ModelError(f"{repo} of the hub has no safetensors", "pickles are not loaded")
    _record(known | {repo: folder.name})
    return folder


@contextmanager
def _hub_errors(name: str, repo: str, revision: str | None) -> Iterator[None]:
    """Translate what goes wrong with the hub."""
    from huggingface_hub import errors

    where = f"{repo} of the hub" + (f" at revision {revision}" if revision else "")
    try:
        yield
    except errors.GatedRepoError as error:
        raise ModelError(
            f"{where} is given to those alone who accept its license",
            "accept it on its page, log in with `hf auth login`, then run the same command again",
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelError(f"there is no {where}", "check the name") from error
    except errors.RevisionNotFoundError as error:
        raise ModelError(f"there is no {where}", "check --revision") from error
    except (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError) as error:
        reason = "HF_HUB_OFFLINE is set" if _is_offline() else _first_line(error.__cause__ or error)
        raise ModelError(
            f"cannot reach {where}: {reason}",
            f"check the network, then run `trackd models get {name}` again to go on from here",
        ) from error
    except errors.HfHubHTTPError as error:
        raise ModelError(f"the hub refused {where}: {_first_line(error)}") from error
    except OSError as error:
        if error.errno is None:
            raise ModelError(f"cannot fetch {where}: {_first_line(error)}") from error
        raise OutputError(
            f"cannot write the files of {where}: {error.strerror or error}", "set HF_HOME"
        ) from error


def _is_offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def _revisions() -> dict[str, str]:
    """Recorded revision of each repository."""
    path = models_dir() / _REVISIONS
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}", "repair or delete it") from error
    if not isinstance(content, dict) or not all(isinstance(v, str) for v in content.values()):
        raise ModelError(f"{path} is no record of revisions", "repair or delete it")
    return content


def _record(revisions: dict[str, str]) -> None:
    path = models_dir() / _REVISIONS
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(revisions, indent=2, sort_keys=True).encode() + b"\n")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
