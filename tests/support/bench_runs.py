"""Runs with tiny made-up figures."""

from tools.bench.record import Contender, Fact, Footage, Machine, Run, Series, Subject

MACHINE = Machine(cpu="A CPU", cpus=2, memory_gib=23.5, accelerator=None, system="Linux 6")
SUBJECT = Subject(
    model="pico", weights="the package's", input_px=384, dtype="bf16", device="cpu", threads=2
)
FOOTAGE = Footage(clip="clip.mp4", width=854, height=480, decoding_timed=False)


def a_run(suite: str, setting: str = "a setting", **parts: object) -> Run:
    whole = {
        "suite": suite,
        "setting": setting,
        "command": f"python -m tools.bench {suite}",
        "day": "2026-01-02",
        "machine": MACHINE,
        "versions": {"torch": "2.0"},
        "subject": SUBJECT,
        "footage": FOOTAGE,
        "warm_up": 3,
    }
    return Run.model_validate(whole | parts)


def ms(name: str, *rounds: tuple[float, ...], **case: int | str) -> Series:
    return Series(name=name, case=case, unit="ms", rounds=rounds)


def track_run() -> Run:
    """Twice and three times as slow as ours with 1 object; a peer that was not to be had."""
    return a_run(
        "track",
        contenders=(
            Contender(name="ours", how="a session"),
            Contender(name="official", how="the predictor", versions={"sam2": "1.1"}),
            Contender(name="cutie", how="its core", problem="no wheel | for this machine"),
        ),
        series=(
            ms("ours", (10.0, 10.0), (20.0, 20.0), objects=1),
            ms("official", (20.0, 20.0), (60.0, 60.0), objects=1),
            ms("ours", (30.0, 30.0), (30.0, 30.0), objects=8),
            ms("official", (240.0, 240.0), (120.0, 120.0), objects=8),
        ),
        facts=(Fact(name="peak of ours", case={"objects": 1}, unit="MiB", value=800.0),),
    )


def model_run() -> Run:
    return a_run(
        "model",
        series=(
            ms("image encoder", (20.0, 20.0), objects=1),
            ms("the rest", (4.0, 4.0), objects=1),
        ),
        facts=(
            Fact(name="matmul", case={"dtype": "fp32"}, unit="GFLOP/s", value=100.0),
            Fact(name="matmul", case={"dtype": "bf16"}, unit="GFLOP/s", value=200.0),
            Fact(name="copy", unit="GB/s", value=10.0),
            Fact(name="FLOPs of image encoder", case={"objects": 1}, unit="GFLOP", value=2.0),
            Fact(name="bytes of image encoder", case={"objects": 1}, unit="MB", value=20.0),
            Fact(name="memory of one object", case={"history": 0}, unit="KiB", value=658.0),
        ),
    )


def deadline_run() -> Run:
    names = ("tracked", "objects", "tracked on the frame", "quality level", "side of the input")
    facts = {"deadline": 15, "mean": 14.8, "seconds": 3}
    facts |= {"seconds within a frame of the deadline": 2}
    return a_run(
        "deadline",
        "pico bf16, 15 frames/s, 1 to 32 objects and back",
        series=tuple(Series(name=name, unit="", rounds=((1.0, 2.0, 3.0),)) for name in names),
        facts=tuple(Fact(name=name, unit="", value=value) for name, value in facts.items()),
    )
