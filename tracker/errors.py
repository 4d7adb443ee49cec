"""Errors for people: one clear line each, and how to fix it."""


class TrackdError(Exception):
    """A failure with one clear line: what happened and where, then how to fix it.

    `exit_code` is what a command ends with: 1 for a failure, 2 for wrong usage, 78 for saved state
    that cannot be read.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message}; {hint}" if hint else message)
        self.message = message
        self.hint = hint


class UsageError(TrackdError):
    """The command or the call was wrong, whatever the data."""

    exit_code = 2


class PromptError(UsageError):
    """A prompt that cannot be applied: outside the frame, empty, contradictory."""


class UnknownModelError(UsageError):
    """A model name that the registry does not hold."""


class ModelError(TrackdError):
    """Weights that are missing, corrupt, or of another architecture."""


class StateError(TrackdError):
    """Saved state that this version cannot read; to start again changes nothing.

    Its exit code is that of sysexits.h for a configuration that is wrong, EX_CONFIG.
    """

    exit_code = 78


class OutputError(TrackdError):
    """An output that cannot be written."""


class FinderError(TrackdError):
    """A finder that raised, took too long, or returned nonsense; tracking goes on without it."""


class SnapshotError(TrackdError):
    """A snapshot that cannot be written, or is damaged, or belongs to other weights."""
