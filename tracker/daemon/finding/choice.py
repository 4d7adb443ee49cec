"""Choice of a finder for a stream or a request, checked before anything is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tracker.errors import UsageError
from tracker.finders.base import FinderSpec
from tracker.finders.births import BirthPolicy
from tracker.finders.phrases import split_phrases
from tracker.finders.registry import FINDERS
from tracker.models.catalog import CATALOG
from tracker.protocol.fields import FinderOption, FindSettings

DEFAULT_EVERY_S = 2.0
DEFAULT_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class ChosenFinder:
    """A finder with its settings, and what it is asked for and when.

    Attributes:
        spec: Its row of the registry.
        options: Its settings, as they were given.
        phrases: What to look for.
        timeout_s: Time limit of a search.
        policy: Births and deaths.
        every_frames: Frames from one search to the next; None where `every_s` says it.
        every_s: Seconds from one search to the next.
    """

    spec: FinderSpec
    options: Mapping[str, FinderOption]
    phrases: tuple[str, ...]
    timeout_s: float = DEFAULT_TIMEOUT_S
    policy: BirthPolicy = field(default_factory=BirthPolicy)
    every_frames: int | None = None
    every_s: float = DEFAULT_EVERY_S


def choose_finder(find: FindSettings, *, trusted: bool) -> ChosenFinder:
    """The finder that a stream's settings mean.

    Args:
        find: They.
        trusted: The configuration has them, and not a client: they may name files and functions.

    Raises:
        UsageError: There is no such finder or setting, what it is asked for does not fit, or a
            package is missing.
    """
    spec = FINDERS.find(find.finder)
    phrases = split_phrases(find.query) if find.query else ()
    spec.check_query(phrases)
    if not trusted:
        _check_untrusted(find.options)
    spec.check(spec.parse_settings(find.options))
    every_frames = find.every_frames
    if every_frames is None and find.every_s is None and spec.every_frame:
        every_frames = 1
    return ChosenFinder(
        spec,
        find.options,
        phrases,
        find.timeout_s,
        _policy(find),
        every_frames,
        find.every_s or DEFAULT_EVERY_S,
    )


def asked_finder(name: str | None, text: str | None, own: ChosenFinder | None) -> ChosenFinder:
    """The finder that a request means: the stream's own, or another one with its usual settings.

    Raises:
        UsageError: It names none and the stream has none, or as `choose_finder`.
    """
    if name is None and own is None:
        raise UsageError(
            "no finder: the stream has none of its own", "name one, or give the stream a find:"
        )
    if own is not None and name in (None, own.spec.name):
        phrases = own.phrases if text is None else split_phrases(text)
        own.spec.check_query(phrases)
        return ChosenFinder(own.spec, own.options, phrases, own.timeout_s, own.policy)
    assert name is not None
    spec = FINDERS.find(name)
    if spec.every_frame:
        raise UsageError(
            f"finder {name} learns from each frame of a stream", "give the stream it as its find:"
        )
    phrases = () if text is None else split_phrases(text)
    spec.check_query(phrases)
    spec.check(spec.parse_settings({}))
    return ChosenFinder(spec, {}, phrases)


def _check_untrusted(options: Mapping[str, FinderOption]) -> None:
    """Refuse texts, which may name files or functions, but for names of the catalogue.

    Raises:
        UsageError: There is one.
    """
    for name, value in options.items():
        if isinstance(value, str) and value not in CATALOG:
            raise UsageError(
                f"find.options.{name}: a client may name no files and no functions",
                "give a name of trackd models, or set it in the daemon's configuration",
            )


def _policy(find: FindSettings) -> BirthPolicy:
    return BirthPolicy(
        min_score=find.min_score,
        min_area=find.min_area,
        max_overlap=find.max_overlap,
        max_cover=find.max_cover,
        max_objects=find.max_objects,
        expire_after_s=find.expire_after_s,
    )
