"""The table of the suite `model`: the stages of a frame, and how near the machine's limits."""

from tools.bench.record import Run
from tools.bench.report.words import NOTHING, number, table
from tools.bench.stages import VERBS
from tools.bench.stats import percentiles

MATMUL, COPY = "matmul", "copy"
ENCODER = VERBS["encode_image"]
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


def matmul_limit(run: Run, stage: str) -> float | None:
    """The most matrix products in the precision of a stage; in int8 it is the encoder alone."""
    assert run.subject is not None
    dtype = run.subject.dtype
    if dtype == "int8" and stage != ENCODER:
        dtype = "bf16"
    return run.fact(MATMUL, dtype=dtype)


def _shares(run: Run, stage: str, objects: int | str, ms: float) -> list[str]:
    """Cells of a stage: work counted, speed, and the share of the limits that this is."""
    gflop = run.fact(f"FLOPs of {stage}", objects=objects)
    mb = run.fact(f"bytes of {stage}", objects=objects)
    matmul, copy = matmul_limit(run, stage), run.fact(COPY)
    if gflop is None or mb is None or matmul is None or copy is None:
        return [NOTHING] * 6
    gflops, gbs = 1000 * gflop / ms, mb / ms
    return [
        *(number(value) for value in (gflop, mb, gflops, gbs)),
        f"{gflops / matmul:.0%}",
        f"{gbs / copy:.0%}",
    ]
