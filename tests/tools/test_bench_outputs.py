"""`python -m tools.bench outputs`: its table, and that the outputs run as they are switched on."""

from pathlib import Path

import pytest

from tests.support.bench_runs import a_run
from tools.bench import live_outputs
from tools.bench.command import main
from tools.bench.live_outputs import NOTHING, OUTPUTS, zones
from tools.bench.program import Program
from tools.bench.record import Contender, Fact, Record, Run, Series
from tools.bench.report.markdown import section
from tools.bench.report.summary import section as summary
from tracker.errors import TrackdError
from tracker.protocol.fields import StreamSettings


def series(name: str, unit: str, output: str, *rounds: tuple[float, ...]) -> Series:
    return Series(name=name, case={"output": output}, unit=unit, rounds=rounds)


def outputs_run() -> Run:
    """Half as many frames with the second, and the machine twice as slow in the second round."""
    return a_run(
        "outputs",
        contenders=(
            Contender(name=NOTHING, how="none"),
            Contender(name="first", how="it"),
            Contender(name="absent", how="it", problem="it needs a package"),
            Contender(name="second", how="it"),
        ),
        series=(
            series("tracked", "frames/s", NOTHING, (10, 30, 50), (5, 15, 25)),
            series("tracked", "frames/s", "first", (20,), (10,)),
            series("tracked", "frames/s", "second", (20,), (10,)),
            series("processor time of the daemon", "ms a frame", NOTHING, (8, 8, 8), (9, 9, 9)),
            series("processor time of the daemon", "ms a frame", "second", (8,), (18,)),
            series("processor time of the output", "ms a frame", "second", (7,), (9,)),
            series("passed on", "pictures a second", "second", (5,), (5,)),
        ),
        facts=(
            Fact(name="load average before", unit="", value=1),
            Fact(name="load average after", unit="", value=3),
        ),
    )


def test_the_table_compares_each_output_with_the_turns_beside_it() -> None:
    text = "\n".join(section(outputs_run()))
    assert f"| {NOTHING} | 20 | - | 8.50 | - | - | - |" in text
    assert "| first | 15 | 1.00 (1.00 to 1.00) | - | - | - | - |" in text
    assert (
        "| second | 15 | 0.50 (0.50 to 0.50) | 13 | 1.50 (1.00 to 2.00) | 8 | 5 pictures |" in text
    )
    assert "**It could not be measured: it needs a package**" in text
    assert "| second | 15 | 0.50" in "\n".join(summary([Record(runs=(outputs_run(),))]))


def test_turns_that_stood_still_say_nothing_of_those_between() -> None:
    run = outputs_run()
    still, half = run.find("tracked", output=NOTHING), run.find("tracked", output="first")
    assert still is not None and half is not None
    stood = run.model_copy(
        update={"series": (still.model_copy(update={"rounds": ((0, 0, 0), (5, 15, 25))}), half)}
    )
    assert "| first | 15 | 1.00 (1.00 to 1.00) |" in "\n".join(section(stood))
    stood = run.model_copy(
        update={"series": (still.model_copy(update={"rounds": ((0, 0, 0), (0, 0, 0))}), half)}
    )
    assert "| first | 15 | - |" in "\n".join(section(stood))


def test_zones_fit_a_stream() -> None:
    settings = StreamSettings.model_validate({"url": "clip.mp4", "zones": zones()})
    assert len(settings.zones) == 22


def test_an_output_whose_package_is_missing_has_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_outputs, "find_spec", lambda name: None)
    assert OUTPUTS["ros"].problem == "it needs cyclonedds: pip install 'trackd[ros]'"
    assert OUTPUTS["previews"].problem == ""


def test_an_unknown_output_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["outputs", "--outputs", "fax"]) == 2
    assert "there is no output 'fax'; choose of 'previews'," in capsys.readouterr().err


def test_a_program_that_ends_early_says_its_last_line() -> None:
    with (
        Program("-c", "print('no such port')") as program,
        pytest.raises(TrackdError, match="no such port"),
    ):
        program.wait_for("ready")


@pytest.mark.slow
@pytest.mark.usefixtures("warm_daemons", "warm_executable")
def test_outputs_are_measured_in_turns(tmp_path: Path, bunny_clip: Path) -> None:
    out = tmp_path / "quick.json"
    assert main(["outputs", "--quick", "--out", str(out)]) == 0
    (run,) = Record.read(out).runs
    nothing = run.find("tracked", output=NOTHING)
    assert nothing is not None and [len(turns) for turns in nothing.rounds] == [3]
    for name in ("previews", "zones and measures"):
        passed_on = run.find("passed on", output=name)
        assert passed_on is not None and passed_on.samples[0] > 0, name
