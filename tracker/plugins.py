"""Registries of named parts: the built-in rows, and those of installed packages (entry points)."""

from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, Protocol, TypeVar

from tracker.errors import UsageError


class Row(Protocol):
    """Anything with a name."""

    @property
    def name(self) -> str:
        """The name that people type."""


R = TypeVar("R", bound=Row)


class Registry(Generic[R]):
    """Rows of one type by name.

    A built-in name cannot be taken over, and the code of another package is imported only when its
    name is asked for.
    """

    def __init__(self, what: str, row_type: type[R], group: str, built_in: Sequence[R]) -> None:
        """Hold `built_in`; `group` is where packages offer more, `what` the word for one."""
        self.built_in = tuple(built_in)
        self._what = what
        self._row_type = row_type
        self.group = group

    @property
    def names(self) -> tuple[str, ...]:
        """All names, the built-in ones first; nothing is imported."""
        own = tuple(row.name for row in self.built_in)
        return own + tuple(sorted({point.name for point in self._offered()} - set(own)))

    def find(self, name: str) -> R:
        """The row of this name.

        Raises:
            UsageError: There is none, or the package that offers it cannot be used.
        """
        for row in self.built_in:
            if row.name == name:
                return row
        for point in self._offered():
            if point.name == name:
                return self._load(point)
        raise UsageError(f"no {self._what} is called {name}", f"there are {', '.join(self.names)}")

    def _offered(self) -> Sequence[EntryPoint]:
        return tuple(entry_points(group=self.group))

    def _load(self, point: EntryPoint) -> R:
        where = f"{self._what} {point.name} ({point.value})"
        try:
            row = point.load()
        except Exception as error:
            raise UsageError(
                f"{where} cannot be imported: {type(error).__name__}: {error}",
                "repair or uninstall the package that offers it",
            ) from error
        if not isinstance(row, self._row_type) or row.name != point.name:
            raise UsageError(
                f"{where} is no {self._row_type.__name__} of this name",
                f"its package has to say so in the entry point group {self.group}",
            )
        return row
