"""Options that choose a finder, what it looks for, and which objects begin and end by it."""

import argparse
from typing import TYPE_CHECKING

from tracker.errors import UsageError

# pydantic and the finders' modules are imported by a run that finds something.
if TYPE_CHECKING:
    from tracker.annotate.finding import FinderChoice
    from tracker.finders.births import BirthPolicy

_DEFAULT_TIMEOUT_S = 120.0


def add_finders(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose a finder and its settings."""
    group = parser.add_argument_group("find objects")
    which = group.add_mutually_exclusive_group()
    which.add_argument(
        "--text", metavar="PHRASES", help='what these words name, as in "cat . red car"'
    )
    which.add_argument(
        "--everything", action="store_true", help="all that the model that tracks can segment"
    )
    which.add_argument(
        "--motion", action="store_true", help="what moves before a camera that stands still"
    )
    which.add_argument(
        "--detect",
        metavar="MODEL[:CLASS,...]",
        help="objects of these classes by a detector, as in rt-detr-r18:person,dog",
    )
    which.add_argument(
        "--finder", metavar="NAME[:PHRASES]", help="a finder by its name, as of another package"
    )
    group.add_argument(
        "--find-set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting of the finder, as in points_per_side=16 or model=owlv2-base (repeats)",
    )
    group.add_argument(
        "--find-timeout",
        type=float,
        default=_DEFAULT_TIMEOUT_S,
        metavar="S",
        help="seconds after which a finder that does not answer is given up (default 120)",
    )


def add_births(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which proposals become objects, and when objects end."""
    group = parser.add_argument_group("objects that are found")
    group.add_argument(
        "--every",
        type=int,
        metavar="N",
        help="look for new objects on every Nth frame (default: on the first frame; with --motion "
        "on each)",
    )
    group.add_argument("--min-score", type=float, default=0.0, metavar="P", help="least score")
    group.add_argument(
        "--min-area",
        type=float,
        default=0.0005,
        metavar="P",
        help="least share of the picture (default 0.0005)",
    )
    group.add_argument(
        "--max-overlap",
        type=float,
        default=0.3,
        metavar="IOU",
        help="from this IoU with a tracked object on it is the same (default 0.3)",
    )
    group.add_argument(
        "--max-cover",
        type=float,
        default=0.7,
        metavar="P",
        help="a part of a tracked object is no new one, nor is a group with it: from this share of "
        "the smaller in the other on (default 0.7)",
    )
    group.add_argument(
        "--max-objects", type=int, default=16, metavar="N", help="objects at a time (default 16)"
    )
    group.add_argument(
        "--expire-after",
        type=float,
        default=5.0,
        metavar="S",
        help="seconds without a mask after which a found object is removed (default 5; 0: never)",
    )


def asks_for_finder(args: argparse.Namespace) -> bool:
    """True if the options name a finder.

    Raises:
        UsageError: They name none, but settings of one.
    """
    named = args.text is not None or args.everything or args.motion
    named = named or args.detect is not None or args.finder is not None
    if not named and args.find_set:
        raise UsageError(
            f"--find-set {args.find_set[0]} without a finder",
            "add --text, --everything, --motion, --detect or --finder",
        )
    return bool(named)


def finder_choice(
    args: argparse.Namespace, *, every: int | None = None, policy: "BirthPolicy | None" = None
) -> "FinderChoice":
    """The finder that the options ask for.

    Raises:
        UsageError: There is no such finder or setting, or what it is asked for does not fit.
    """
    from tracker.annotate.finding import FinderChoice
    from tracker.finders.phrases import split_phrases

    settings: dict[str, object] = dict(_setting(text) for text in args.find_set)
    phrases: tuple[str, ...] = ()
    if args.text is not None:
        name, phrases = "text", split_phrases(args.text)
    elif args.detect is not None:
        name = "detector"
        settings["model"], phrases = _detector(args.detect)
    elif args.finder is not None:
        name, _, text = args.finder.partition(":")
        phrases = split_phrases(text) if text else ()
    else:
        name = "everything" if args.everything else "motion"
    return FinderChoice.of(
        name, phrases, settings, every=every, policy=policy, timeout_s=args.find_timeout
    )


def birth_policy(args: argparse.Namespace) -> "BirthPolicy":
    """The policy of births and deaths that the options ask for.

    Raises:
        UsageError: A limit is out of its range.
    """
    from tracker.finders.births import BirthPolicy

    return BirthPolicy(
        min_score=args.min_score,
        min_area=args.min_area,
        max_overlap=args.max_overlap,
        max_cover=args.max_cover,
        max_objects=args.max_objects,
        expire_after_s=None if args.expire_after == 0 else args.expire_after,
    )


def _setting(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(f"--find-set {text} is not KEY=VALUE", "as in points_per_side=16")
    return key, value


def _detector(text: str) -> tuple[str, tuple[str, ...]]:
    """The model and the classes of `--detect`, of which none stands for all."""
    model, _, classes = text.partition(":")
    names = tuple(dict.fromkeys(name.strip() for name in classes.split(",") if name.strip()))
    if not model or (":" in text and not names):
        raise UsageError(f"--detect {text} is not MODEL[:CLASS,...]", "as in rt-detr-r18:person")
    return model, names
