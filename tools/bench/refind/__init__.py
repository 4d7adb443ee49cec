"""Lost objects found again, lookalikes refused, and swaps noticed, on clips made of held-out data.

Each clip (`tools.bench.refind.clips`) is tracked with each policy, from a mask on its first frame.
An object is found again if its mask overlaps the truth by more than half within a second of half of
it being in view; a clip is wrong if on three frames or more the mask is on something else, on a
crossing if it is at the end. What galleries cost is measured in turns with a session without.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tools.bench import options as common
from tools.bench.conditions import conditions_of
from tools.bench.models import load
from tools.bench.record import Fact, Footage, Run, Series
from tools.bench.refind.clips import FPS, GROUPS, HEIGHT, TUNING_SEED, WIDTH, Clip, make_clip
from tools.bench.refind.scoring import Score, Seen, auc, score
from tools.bench.turns import take_turns
from tools.policies.compare import share_encodings
from tracker.engine import OFFICIAL, Policy, Session
from tracker.errors import UsageError
from tracker.models import Model
from tracker.types import Prompt

HELP = "lost objects found again, lookalikes and swaps, on clips made of held-out data (an hour)"
QUICK = {"model": "pico@128", "clips": 1, "objects": (1,), "rounds": 1, "frames": 1, "warm_up": 1}
NO_GALLERY = Policy(gallery_entries=0, redetect=False)
#: "watched" says `identity` and does nothing about it: its masks are those without a gallery.
POLICIES = {"default": Policy(), "watched": Policy(redetect=False), "official": OFFICIAL}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this suite."""
    common.add_model(parser)
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("../shared/data"),
        metavar="DIR",
        help="holds davis-train and stills",
    )
    parser.add_argument("--clips", type=common.whole, default=20, help="of each group")
    parser.add_argument(
        "--tuning",
        action="store_true",
        help="clips that settings may be chosen on, of other stills",
    )
    parser.add_argument(
        "--policies",
        type=common.names,
        default=tuple(POLICIES),
        help=f"of {', '.join(POLICIES)}; default: all; official takes most of the time",
    )
    parser.add_argument("--objects", type=common.wholes, default=(1, 16), help="for the costs")
    common.add_rounds(parser, rounds=8, frames=6, warm_up=18)


def measure(options: argparse.Namespace) -> Run:
    """Track all clips with all policies, then time galleries.

    Raises:
        UsageError: There is no such folder of data, or no such policy.
        TrackdError: The folder lacks stills or videos.
    """
    if not options.data.is_dir():
        raise UsageError(f"no folder {options.data}", "give --data DIR")
    unknown = [name for name in options.policies if name not in POLICIES]
    if unknown:
        raise UsageError(f"there is no policy {unknown[0]!r}", f"choose of {', '.join(POLICIES)}")
    conditions = conditions_of(options)
    model, _ = load(options.model, options.device, options.dtype)
    scores = _scores(share_encodings(model), options)
    facts = [*_score_facts(scores), *_gallery_bytes(model, options.objects)]
    which = "tuning clips" if options.tuning else "clips"
    return conditions.run(
        suite="refind",
        setting=f"{options.model} {conditions.dtype}, {options.clips} {which} of each group",
        footage=Footage(clip="made clips", width=WIDTH, height=HEIGHT, decoding_timed=False),
        warm_up=options.warm_up,
        facts=tuple(facts),
        series=tuple(_step_times(model, options)),
        notes=(
            f"Clips are of {FPS} frames a second; objects are lost after a second. held: clips on "
            "which the mask is on the object when it begins to leave; found again: of those.",
        ),
    )


def _scores(model: Model, options: argparse.Namespace) -> dict[str, list[Score]]:
    """Scores of all clips by policy; clips take a minute each, so each is told."""
    first = TUNING_SEED if options.tuning else 0
    policies = {name: POLICIES[name] for name in options.policies}
    scores: dict[str, list[Score]] = {name: [] for name in policies}
    for seed in range(first, first + options.clips):
        for group in GROUPS:
            clip = make_clip(options.data, group, seed)
            for name, seen in track(model, policies, clip).items():
                scores[name].append(score(clip, seen))
            told = "  ".join(f"{name} {_word(scores[name][-1])}" for name in policies)
            print(f"{group:9}{clip.name:24}{told}", file=sys.stderr, flush=True)
    return scores


def _word(of: Score) -> str:
    found = "" if of.found_frames is None else f"found after {of.found_frames} "
    return f"{found}{'wrong' if of.wrong else 'right'}"


def track(model: Model, policies: Mapping[str, Policy], clip: Clip) -> dict[str, list[Seen]]:
    """What sessions of some policies, which share encodings, publish of a clip's object."""
    sessions = {
        name: Session(model, replace(policy, history_frames=0, lost_after=FPS))
        for name, policy in policies.items()
    }
    seen: dict[str, list[Seen]] = {name: [] for name in policies}
    for t, image_hwc in enumerate(clip.images_hwc):
        for name, session in sessions.items():
            result = session.step(image_hwc)
            obj = result.objects[0] if t else session.prompt(_prompt(1, clip.truths_hw[0])).object
            seen[name].append(Seen(obj.mask_hw, obj.identity))
    return seen


def _prompt(object_id: int, mask_hw: NDArray[np.bool_]) -> Prompt:
    return Prompt(object_id, mask_hw=mask_hw)


def _score_facts(scores: Mapping[str, Sequence[Score]]) -> Iterator[Fact]:
    for name, of_policy in scores.items():
        for group in GROUPS:
            in_group = [one for one in of_policy if one.group == group]
            yield from _group_facts({"policy": name, "clips": group}, in_group)
        absences = [one for one in of_policy if one.group != "crossing"]
        yield from _group_facts({"policy": name, "clips": "exit and decoy"}, absences)
        area = auc([pair for one in of_policy for pair in one.identities])
        if area is not None:
            yield Fact(name="AUC of identity", case={"policy": name}, unit="", value=round(area, 3))


def _group_facts(case: dict[str, int | str], scores: Sequence[Score]) -> Iterator[Fact]:
    def share(name: str, part: int, whole: int) -> Fact:
        return Fact(name=name, case=case, unit=f"% of {whole}", value=round(100 * part / whole, 1))

    held = [one for one in scores if one.held]
    if all(one.group != "crossing" for one in scores):
        yield share("held until it left", len(held), len(scores))
        if held:
            found = sum(one.found_in_time for one in held)
            yield share("found again within 1 s", found, len(held))
    yield share("wrong object", sum(one.wrong for one in scores), len(scores))
    mean = float(np.mean([one.mean_iou for one in scores]))
    yield Fact(name="mean IoU", case=case, unit="", value=round(mean, 3))


def _gallery_bytes(model: Model, objects: Sequence[int]) -> Iterator[Fact]:
    """Bytes of full galleries, all looks of an object that never stands still."""
    for count in objects:
        session, image_hwc = _session(model, Policy(), count)
        for turn in range(3 * Policy().gallery_entries):
            session.step(np.roll(image_hwc, turn, axis=1))
        held = sum(session.state.objects.get(i).gallery.nbytes for i in session.object_ids)
        yield Fact(name="galleries", case={"objects": count}, unit="bytes", value=held)


def _step_times(model: Model, options: argparse.Namespace) -> Iterator[Series]:
    """Milliseconds of a step with galleries and without, in turns."""
    for count in options.objects:
        work = {}
        for name, policy in (("gallery", Policy()), ("no gallery", NO_GALLERY)):
            session, image_hwc = _session(model, policy, count)
            work[name] = lambda session=session, image_hwc=image_hwc: session.step(image_hwc)
        turns = take_turns(
            work, rounds=options.rounds, each=options.frames, warm_up=options.warm_up
        )
        for name, rounds in turns.items():
            yield Series(name=f"step, {name}", case={"objects": count}, unit="ms", rounds=rounds)


def _session(model: Model, policy: Policy, count: int) -> tuple[Session, NDArray[np.uint8]]:
    """A session of coloured squares on a grid."""
    session = Session(model, replace(policy, history_frames=0))
    random = np.random.default_rng(0)
    image_hwc = random.integers(80, 120, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    masks = []
    for i in range(count):
        mask_hw = np.zeros((HEIGHT, WIDTH), np.bool_)
        y, x = 60 * (i // 4) + 12, 92 * (i % 4) + 12
        mask_hw[y : y + 40, x : x + 60] = True
        image_hwc[mask_hw] = random.integers(0, 256, 3)
        masks.append(mask_hw)
    session.step(image_hwc)
    for object_id, mask_hw in enumerate(masks, start=1):
        session.prompt(_prompt(object_id, mask_hw))
    return session, image_hwc
