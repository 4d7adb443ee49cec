"""The command line of `python -m tools.policies`."""

import argparse
import os
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from streams.errors import StreamError
from tools.evaluate.prompting import PromptKind
from tools.policies.clips import GROUPS, synthetic_videos
from tools.policies.compare import Named, Score, compare, share_encodings
from tools.policies.report import (
    Setting,
    aggregate,
    by_prompt,
    pooled,
    table,
    to_json,
    to_markdown,
)
from tools.policies.video import Video, davis_videos
from tracker.cli.terminal import make_console
from tracker.engine import MEMORY_POLICIES, OFFICIAL, Policy
from tracker.errors import OutputError, TrackdError
from tracker.models import Model, load_model

RESULTS = Path(__file__).parent / "results"
POLICIES = (
    *(Named(name, Policy(keep_memories=name)) for name in MEMORY_POLICIES),
    Named("official", OFFICIAL),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 1 for a failure, 2 for wrong usage."""
    argv = sys.argv[1:] if argv is None else argv
    options = _parser().parse_args(argv)
    try:
        return _run(options, _record(options, argv))
    except (TrackdError, StreamError) as err:
        print(f"policies: {err}", file=sys.stderr)
        return err.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.policies",
        description="Compare memory policies on real videos and on made occlusions.",
    )
    parser.add_argument(
        "data", type=Path, metavar="DATA", help="holds davis-dev, davis-train and stills"
    )
    parser.add_argument("--model", default="pico", help="a name of `trackd checkpoints list`")
    parser.add_argument(
        "--prompt",
        type=PromptKind,
        choices=list(PromptKind),
        nargs="+",
        default=[PromptKind.MASK, PromptKind.BOX],
        help="how the object is shown on the first frame; default: mask box",
    )
    parser.add_argument("--frames", type=int, default=40, help="of each davis-train video")
    parser.add_argument("--clips", type=int, default=8, help="made of each kind")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="DIR", help="results")
    return parser


def _run(options: argparse.Namespace, command: str) -> int:
    model = share_encodings(load_model(options.model))
    # No prompt goes back in time here, so no history is needed; results do not depend on it.
    policies = [Named(n.name, replace(n.policy, history_frames=0)) for n in POLICIES]
    start, scores = time.perf_counter(), list[Score]()
    for video in _videos(options):
        scores += compare(model, policies, options.prompt, video)
        runs = len(options.prompt) * len(policies)
        print(_progress(scores[-runs:]), file=sys.stderr, flush=True)
    rows = aggregate([*scores, *pooled(scores, GROUPS, "all made clips")])
    console = make_console()
    for prompt, of_prompt in by_prompt(rows).items():
        console.print(table(prompt, of_prompt))
    setting = _setting(model, command, (time.perf_counter() - start) / 60)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "policies.md").write_text(to_markdown(rows, setting))
        (options.out / "policies.json").write_text(to_json(rows, scores, setting))
    except OSError as err:
        raise OutputError(f"cannot write to {options.out}: {err.strerror}", "use --out") from err
    return 0


def _videos(options: argparse.Namespace) -> Iterator[Video]:
    yield from davis_videos(options.data / "davis-dev", None)
    yield from synthetic_videos(options.data / "stills", options.clips)
    yield from davis_videos(options.data / "davis-train", options.frames)


def _progress(scores: Sequence[Score]) -> str:
    parts = "  ".join(f"{s.prompt} {s.policy} {(s.j + s.f) / 2:.3f}" for s in scores)
    return f"{scores[0].group:12} {scores[0].video:18} {parts}"


def _record(options: argparse.Namespace, argv: Sequence[str]) -> str:
    """The command as anybody would give it: without this machine's folders."""
    named = {str(options.data): "../shared/data", str(options.out): "DIR"}
    return f"python -m tools.policies {shlex.join(named.get(arg, arg) for arg in argv)}"


def _setting(model: Model, command: str, minutes: float) -> Setting:
    return Setting(
        command=command,
        model=model.name,
        weights_sha256=model.fingerprint,
        device=str(model.device),
        dtype=str(model.dtype).removeprefix("torch."),
        cpus=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        minutes=round(minutes, 1),
    )
