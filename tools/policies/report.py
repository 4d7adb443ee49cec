"""Report of a comparison: a table per prompt for the terminal and for Markdown, and JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product

import numpy as np
from rich.box import SIMPLE
from rich.table import Table

from tools.evaluate.prompting import PromptKind
from tools.policies.compare import Score

NOISE = 0.005
HEADINGS = (
    *("set", "policy", "videos", "J&F", "J", "F", "vs first", "± s.e.", "better/worse"),
    *("imagined", "found again"),
)
EXPLANATION = (
    "vs first: J&F less that of the set's first policy, averaged over videos, with its standard "
    f"error; better/worse: videos that differ by more than {NOISE}; imagined: absent frames on "
    "which a mask was published; found again: frames after an absence, with at least half of the "
    "object in view, on which IoU > 0.5."
)


@dataclass(frozen=True, slots=True)
class Setting:
    """Setting of a comparison, for the record: what was run and on what."""

    command: str
    model: str
    weights_sha256: str
    device: str
    dtype: str
    cpus: int
    threads: int
    minutes: float


@dataclass(frozen=True, slots=True)
class Row:
    """One policy on one set: means over videos, counts over all frames of all videos.

    Attributes:
        prompt: How the objects were shown.
        group: The set.
        policy: The policy.
        videos: How many.
        frames: Frames tracked.
        j: Mean region score.
        f: Mean boundary score.
        gain: Mean difference in J&F to the first policy.
        gain_error: Its standard error over videos; 0 for a single video.
        better: Videos with a J&F higher than the first policy's by more than `NOISE`.
        worse: Videos with one that much lower.
        absent: Frames without the object.
        imagined: Those with a mask all the same.
        back: Frames after an absence with the object in view again.
        found: Those with an IoU above one half.
    """

    prompt: PromptKind
    group: str
    policy: str
    videos: int
    frames: int
    j: float
    f: float
    gain: float
    gain_error: float
    better: int
    worse: int
    absent: int
    imagined: int
    back: int
    found: int


def aggregate(scores: Sequence[Score]) -> tuple[Row, ...]:
    """One row for each prompt, set and policy, in the order in which they first come.

    Every policy must have been run on the same videos in the same order.
    """
    parts: dict[tuple[PromptKind, str, str], list[Score]] = {}
    for s in scores:
        parts.setdefault((s.prompt, s.group, s.policy), []).append(s)
    prompts, groups, policies = (tuple(dict.fromkeys(names)) for names in zip(*parts, strict=True))
    return tuple(
        _row(parts[prompt, group, policy], parts[prompt, group, policies[0]])
        for prompt, group, policy in product(prompts, groups, policies)
    )


def by_prompt(rows: Sequence[Row]) -> dict[PromptKind, list[Row]]:
    """The rows of each prompt."""
    prompts = dict.fromkeys(row.prompt for row in rows)
    return {prompt: [row for row in rows if row.prompt is prompt] for prompt in prompts}


def pooled(scores: Sequence[Score], groups: Sequence[str], name: str) -> tuple[Score, ...]:
    """The scores of several sets once more, as those of one set called `name`."""
    return tuple(
        replace(s, group=name, video=f"{s.group}/{s.video}") for s in scores if s.group in groups
    )


def _row(scores: list[Score], firsts: list[Score]) -> Row:
    gains = np.array([_jf(s) - _jf(first) for s, first in zip(scores, firsts, strict=True)])
    error = gains.std(ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else 0.0
    return Row(
        prompt=scores[0].prompt,
        group=scores[0].group,
        policy=scores[0].policy,
        videos=len(scores),
        frames=sum(s.frames for s in scores),
        j=float(np.mean([s.j for s in scores])),
        f=float(np.mean([s.f for s in scores])),
        gain=float(gains.mean()),
        gain_error=float(error),
        better=int((gains > NOISE).sum()),
        worse=int((gains < -NOISE).sum()),
        absent=sum(s.absent for s in scores),
        imagined=sum(s.imagined for s in scores),
        back=sum(s.back for s in scores),
        found=sum(s.found for s in scores),
    )


def _jf(score: Score) -> float:
    return (score.j + score.f) / 2


def table(prompt: PromptKind, rows: Sequence[Row]) -> Table:
    """The rows of a prompt for a terminal."""
    out = Table(title=_title(prompt), caption=EXPLANATION, box=SIMPLE, padding=(0, 1, 0, 0))
    for heading in HEADINGS:
        left = heading in ("set", "policy")
        out.add_column(heading, justify="left" if left else "right", no_wrap=True)
    for row in rows:
        out.add_row(*_cells(row))
    return out


def to_markdown(rows: Sequence[Row], setting: Setting) -> str:
    """The rows as a Markdown page."""
    lines = ["# Memory policies compared", "", f"`{setting.command}`", ""]
    lines += [
        f"{setting.model}, {setting.device} {setting.dtype}, {setting.threads} of {setting.cpus} "
        f"CPUs, {setting.minutes:.0f} minutes. Pico was trained on davis-train and on the stills "
        "that the clips are made of (not on these clips); davis-dev is held out.",
        "",
        EXPLANATION,
    ]
    for prompt, of_prompt in by_prompt(rows).items():
        lines += [
            "",
            f"## {_title(prompt)}",
            "",
            f"| {' | '.join(HEADINGS)} |",
            f"|{'---|' * 2}{'---:|' * (len(HEADINGS) - 2)}",
        ]
        lines += [f"| {' | '.join(_cells(row))} |" for row in of_prompt]
    return "\n".join([*lines, ""])


def to_json(rows: Sequence[Row], scores: Sequence[Score], setting: Setting) -> str:
    """The same with the scores of every video, one a line."""
    return (
        f'{{"setting": {json.dumps(asdict(setting))},\n"rows": {_json_lines(rows)},\n'
        f'"videos": {_json_lines(scores)}}}\n'
    )


def _json_lines(items: Sequence[Row] | Sequence[Score]) -> str:
    rounded = (
        {k: round(v, 5) if isinstance(v, float) else v for k, v in asdict(item).items()}
        for item in items
    )
    return "[\n" + ",\n".join(json.dumps(values) for values in rounded) + "\n]"


def _title(prompt: PromptKind) -> str:
    return f"From a {prompt} on the first frame"


def _cells(row: Row) -> list[str]:
    cells = [row.group, row.policy, str(row.videos), f"{(row.j + row.f) / 2:.3f}"]
    cells += [f"{row.j:.3f}", f"{row.f:.3f}", f"{row.gain:+.3f}", f"{row.gain_error:.3f}"]
    cells += [f"{row.better}/{row.worse}"]
    return [*cells, _share(row.imagined, row.absent), _share(row.found, row.back)]


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%} of {whole}" if whole else "-"
