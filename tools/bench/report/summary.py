"""The section of docs/benchmarks.md that is made from the records."""

from collections.abc import Callable, Sequence

from tools.bench.machine import slug
from tools.bench.record import UNTIL_READY, Machine, Record, Run, Series
from tools.bench.report.model_table import ENCODER, matmul_limit
from tools.bench.report.outputs_table import outputs_lines
from tools.bench.report.words import NOTHING, machine_words, number, problem, table, times
from tools.bench.stats import percentiles, round_ratios, spread
from tracker.errors import TrackdError

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
_RESULTS = "tools/bench/results"
PLOTS = "assets/benchmarks"  # beside the page
_WITH_MODEL = ("track", "model", "e2e", "deadline")


def replaced(page: str, records: Sequence[Record]) -> str:
    """The page with the section of these records.

    Raises:
        TrackdError: The page has no such section.
    """
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise TrackdError("the page has no place for the benchmarks", f"add {BEGIN} and {END}")
    return "\n".join([head + BEGIN, *section(records), END]) + tail


def section(records: Sequence[Record]) -> list[str]:
    """Summary of the measurements, machine by machine, in a few lines each."""
    runs = [run for record in records for run in record.runs if not _is_trial(run)]
    machines = {slug(run.machine): run.machine for run in runs}
    lines = []
    for name, machine in machines.items():
        lines += _machine(name, machine, [run for run in runs if slug(run.machine) == name])
    return lines


def _is_trial(run: Run) -> bool:
    """True if the model is one that nobody uses, such as pico@128."""
    return run.suite in ("track", "model", "e2e") and "@" in (
        run.subject.model if run.subject else ""
    )


def _machine(name: str, machine: Machine, runs: Sequence[Run]) -> list[str]:
    lines = [f"Measured on {machine_words(machine)} (all of it: `{_RESULTS}/{name}`):", ""]
    lines += _tracking([run for run in runs if run.suite == "track"])
    found = [line for run in runs if run.suite in _LINES for line in _LINES[run.suite](run)]
    if found:
        lines += [*found, ""]
    for run in runs:
        lines += _outputs(run) if run.suite == "outputs" else []
    for plot, caption in shown_plots(runs).items():
        lines += [f"![{caption}]({PLOTS}/{name}-{plot})", ""]
    return lines


def shown_plots(runs: Sequence[Run]) -> dict[str, str]:
    """The plots of one machine that the page shows: file name to caption."""
    plots = {}
    if any(run.suite == "track" and len(run.cases("objects")) > 1 for run in runs):
        plots["objects.png"] = "ms a frame over the number of objects"
    if any(run.suite == "deadline" for run in runs):
        plots["deadline.png"] = "frames a second while objects come and go, with a deadline"
    return plots


def _tracking(runs: Sequence[Run]) -> list[str]:
    """A table for each model and set of peers: a row for each number of objects."""
    rows: dict[tuple[str, ...], list[list[str]]] = {}
    problems: dict[str, None] = {}
    for run in runs:
        measured = {series.name for series in run.series}
        there = [one.name for one in run.contenders if one.name in measured]
        for objects in run.cases("objects"):
            cells = [_cell(run, name, objects) for name in there]
            rows.setdefault((_heading(run), *there), []).append([_objects(objects), *cells])
        for one in run.contenders:
            if one.problem:
                problems[f"{one.name} {problem(run, one)}"] = None
    lines = [line for headings, of_them in rows.items() for line in table(headings, of_them)]
    return [*lines, *(line for text in problems for line in (text, ""))]


def _heading(run: Run) -> str:
    assert run.subject is not None and run.footage is not None
    size = f"{run.footage.width}x{run.footage.height}"
    return f"{run.subject.model} {run.subject.dtype} ({size}), ms a frame (times ours)"


def _cell(run: Run, name: str, objects: int | str) -> str:
    series, ours = run.find(name, objects=objects), run.find("ours", objects=objects)
    if series is None:
        return NOTHING
    ms = number(percentiles(series.samples).p50)
    if ours is None or name == "ours":
        return ms
    return f"{ms} ({spread(round_ratios(series.rounds, ours.rounds)).median:.2f})"


def _model(run: Run) -> list[str]:
    """Split of a frame's time, and how near the encoder comes to the machine's limit."""
    assert run.subject is not None
    subject, one = run.subject, [s for s in run.series if s.case.get("objects") == 1]
    split = ", ".join(f"{s.name} {number(percentiles(s.samples).p50)}" for s in one)
    line = f"- {subject.model} {subject.dtype}, one object, ms a frame by stage: {split}"
    encoder = run.find(ENCODER, objects=1)
    gflop = run.fact(f"FLOPs of {ENCODER}", objects=1)
    limit = matmul_limit(run, ENCODER)
    if encoder is None or gflop is None or limit is None:
        return [line + "."]
    share = 1000 * gflop / percentiles(encoder.samples).p50 / limit
    return [f"{line}; the encoder reaches {share:.0%} of the matrix products that were measured."]


def _e2e(run: Run) -> list[str]:
    """Frames per second of files, the age of a mask of a camera."""
    assert run.footage is not None
    size = f"{run.footage.width}x{run.footage.height}"
    lines, model = [], run.subject.model if run.subject else ""
    ready_s = run.fact(UNTIL_READY)
    for series in run.series:
        if series.name == "frame to frame":
            fps = 1000 * len(series.samples) / sum(series.samples)
            lines.append(
                f"- end to end, {model}, {size} file decoded, tracked and published as RLE, "
                f"{_objects(series.case['objects'])}: {fps:.1f} frames/s."
            )
        if series.name == "from arrival to the subscriber":
            p = percentiles(series.samples)
            lines.append(
                f"- a camera's mask at the subscriber, after the packet came ({size}): "
                f"p50 {p.p50:.0f} ms, p95 {p.p95:.0f} ms."
            )
    if ready_s is not None and run.find("frame to frame") is not None:
        lines.append(f"- {UNTIL_READY}, {model}: {ready_s:.1f} s.")
    return lines


def _deadline(run: Run) -> list[str]:
    """Summary of how well the deadline was kept."""
    wanted, mean = run.fact("deadline"), run.fact("mean")
    kept, seconds = run.fact("seconds within a frame of the deadline"), run.fact("seconds")
    assert wanted and mean and kept is not None and seconds
    return [
        f"- a deadline of {wanted:g} frames/s, {run.setting.rpartition(', ')[2]}: mean "
        f"{mean:.1f}, {kept:.0f} of {seconds:.0f} seconds within a frame of it."
    ]


def _outputs(run: Run) -> list[str]:
    """Price of each output of a live stream."""
    before, after = run.fact("load average before"), run.fact("load average after")
    return [
        f"Outputs of a daemon, {run.setting} (load average {before:g} before, {after:g} after):",
        "",
        *outputs_lines(run),
    ]


def _long(run: Run) -> list[str]:
    """True if a session grew."""
    steps = [int(fact.case["steps"]) for fact in run.facts if fact.name == "resident memory"]
    commands = sum(fact.value for fact in run.facts if fact.name == "commands")
    grown_mib = run.fact("growth after a tenth")
    if not steps or grown_mib is None:
        return []
    return [
        f"- a session of {max(steps):,} frames and {commands:,.0f} commands: {grown_mib:.1f} MiB "
        f"more at its end than after {min(steps):,} frames."
    ]


def _studio(run: Run) -> list[str]:
    """Cost of pages, and times in one."""
    lines = []
    for fact in run.facts:
        if fact.name.startswith("share of the results without pages") and fact.case["pages"]:
            pace = fact.name.rpartition(", ")[2]
            lines.append(
                f"- {fact.case['pages']} pages of the studio that show a stream at {pace} leave "
                f"the daemon {fact.value:.0%} of its results."
            )
    for series in run.series:
        if series.unit == "ms":
            p = percentiles(series.samples)
            lines.append(
                f"- in a page of the studio, {series.name}: p50 {p.p50:.0f} ms, p95 {p.p95:.0f} ms."
            )
    load = run.fact("load average before")
    return [*lines[:-1], f"{lines[-1]} Load average before: {load:g}."] if lines else []


def _studio_soak(run: Run) -> list[str]:
    """Growth with a page open."""
    frames = run.fact("frames tracked") or 0.0
    grown = [
        f"{fact.name.removeprefix('growth of the ').removesuffix(' after a tenth')} {fact.value:g}"
        for fact in run.facts
        if fact.name.startswith("growth of the")
    ]
    return [
        f"- {frames:,.0f} frames with a page of the studio open, MiB more at the end than after a "
        f"tenth: {', '.join(grown)}."
    ]


def _against(run: Run, ours: str, theirs: str, what: str) -> list[str]:
    """One line for each case that both were measured in."""
    lines = []
    for series in run.series:
        other = run.find(theirs, **series.case) if series.name == ours else None
        if other is not None:
            lines.append(f"- {what}{_in_case(series)}: {_compared(series, other)}.")
    return lines


def _in_case(series: Series) -> str:
    """The size, or the number of objects."""
    if "objects" in series.case:
        return f", {_objects(series.case['objects'])}"
    return "".join(f", {value}" for value in series.case.values())


def _objects(count: int | str) -> str:
    return f"{count} object{'s' if count != 1 else ''}"


def _compared(ours: Series, theirs: Series) -> str:
    ms = number(percentiles(ours.samples).p50)
    ratio = times(spread(round_ratios(theirs.rounds, ours.rounds)))
    return f"{ms} ms, {theirs.name} {ratio} times as long"


_LINES: dict[str, Callable[[Run], list[str]]] = {
    "model": _model,
    "e2e": _e2e,
    "deadline": _deadline,
    "long": _long,
    "studio": _studio,
    "studio-soak": _studio_soak,
    "decode": lambda run: _against(run, "ours", "cv2.VideoCapture", "decoding a frame"),
    "wire": lambda run: _against(run, "ours", "pycocotools", "run lengths of the masks of a frame"),
}
