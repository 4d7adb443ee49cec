"""The table of the suite `model`: the stages of a frame, and how near the machine's limits."""

from tools.bench.record import Run
from tools.bench.report.words import NOTHING, number, table
from tools.bench.stats import percentiles

MATMUL, COPY = "matmul", "copy"
_HEADINGS = (
    *("objects", "stage", "p50 ms", "p95 ms", "GFLOP", "MB", "GFLOP/s", "GB/s"),
    *("of matmul limit", "of memory limit"),
)


def model_lines(run: Run) -> list[str]:
    """The measured limits, then a row for each number of objects and each stage."""
    limits = [f for f in run.facts if f.name in (MATMUL, COPY)]
    words = [
        f"{f.name} {''.join(f'{value} ' for value in f.case.values())}{number(f.value)} {f.unit}"
        for f in limits
    ]
    rows = []
    for series in run.series:
        p = percentiles(series.samples)
        cells = [str(series.case["objects"]), series.name, number(p.p50), number(p.p95)]
        rows.append([*cells, *_shares(run, series.name, series.case["objects"], p.p50)])
    sizes = [f for f in run.facts if f.unit == "KiB"]
    kept = [[f.name, str(f.case["history"]), number(f.value)] for f in sizes]
    return [
        f"The most that was measured here: {', '.join(words)}.",
        "",
        *table(_HEADINGS, rows, left=2),
        *(table(["", "frames of history", "KiB"], kept) if kept else []),
    ]


def _shares(run: Run, stage: str, objects: int | str, ms: float) -> list[str]:
    """What was counted, how fast it went, and the share of the limits that this is."""
    assert run.subject is not None
    gflop = run.fact(f"FLOPs of {stage}", objects=objects)
    mb = run.fact(f"bytes of {stage}", objects=objects)
    matmul, copy = run.fact(MATMUL, dtype=run.subject.dtype), run.fact(COPY)
    if gflop is None or mb is None or matmul is None or copy is None:
        return [NOTHING] * 6
    gflops, gbs = 1000 * gflop / ms, mb / ms
    return [
        *(number(value) for value in (gflop, mb, gflops, gbs)),
        f"{gflops / matmul:.0%}",
        f"{gbs / copy:.0%}",
    ]
