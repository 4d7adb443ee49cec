"""From what was measured to what is read: statistics, records, tables, the section."""

from pathlib import Path

import pytest

from tests.support.bench_runs import MACHINE, SUBJECT, a_run, deadline_run, model_run, ms, track_run
from tools.bench.command import RESULTS
from tools.bench.machine import slug
from tools.bench.record import UNTIL_READY, Fact, Record
from tools.bench.report import plots, summary
from tools.bench.report.markdown import page, section
from tools.bench.report.model_table import matmul_limit
from tools.bench.report.words import number
from tools.bench.report.write import PAGE, records_of, write_report
from tools.bench.stats import percentiles, round_ratios, spread
from tracker.errors import OutputError, TrackdError


def test_percentiles_lie_between_the_samples() -> None:
    found = percentiles([float(n) for n in range(101)])
    assert (found.p50, found.p95, found.p99) == (50.0, 95.0, 99.0)
    alone = percentiles([7.0])
    assert (alone.p50, alone.p99) == (7.0, 7.0)


def test_a_ratio_compares_the_medians_of_a_round_with_those_of_the_same_round() -> None:
    """The second round was slow for both: the ratio does not see it."""
    ours = ((10.0, 11.0, 900.0), (110.0, 100.0, 120.0))
    theirs = ((22.0, 22.0, 22.0), (330.0, 330.0, 330.0))
    assert round_ratios(theirs, ours) == (2.0, 3.0)
    found = spread(round_ratios(theirs, ours))
    assert (found.least, found.median, found.most) == (2.0, 2.5, 3.0)


def test_ratios_of_unequal_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        round_ratios(((1.0,), (2.0,)), ((1.0,),))


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1234.5, "1234"), (123.4, "123"), (12.34, "12.3"), (1.234, "1.23"), (0.1234, "0.123"),
     (8.0, "8")],
)  # fmt: skip
def test_numbers_have_three_digits(value: float, shown: str) -> None:
    assert number(value) == shown


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "track.json"
    record = Record().keeping(track_run()).keeping(model_run())
    record.write(path)
    assert Record.read(path) == record


def test_a_run_replaces_that_of_its_setting_and_no_other(tmp_path: Path) -> None:
    record = Record()
    for setting, value in (("a", 1.0), ("b", 2.0), ("a", 3.0)):
        record = record.keeping(a_run("decode", setting, series=(ms("ours", (value,)),)))
    assert [(run.setting, run.series[0].samples) for run in record.runs] == [
        ("b", [2.0]),
        ("a", [3.0]),
    ]


def test_what_is_not_there_yet_holds_no_runs(tmp_path: Path) -> None:
    assert Record.read(tmp_path / "none.json") == Record()


@pytest.mark.parametrize(
    "text", ["{", '{"version": 2, "runs": []}', '{"version": 1, "runs": [{"suite": 3}]}', "[]"]
)
def test_a_damaged_record_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "track.json"
    path.write_text(text)
    with pytest.raises(TrackdError) as caught:
        Record.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_record_that_cannot_be_written_is_an_error_of_output(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="give another --out"):
        Record().write(tmp_path / "file" / "track.json")


def test_the_tracking_table_tells_times_ratios_and_who_is_missing() -> None:
    text = "\n".join(section(track_run()))
    assert "| 1 | ours | 15 | 20 | 20 | 66.7 | 800 | - |" in text
    assert "| 1 | official | 40 | 60 | 60 | 25 | - | 2.50 (2.00 to 3.00) |" in text
    assert "| 8 | official | 180 | 240 | 240 | 5.56 | - | 6.00 (4.00 to 8.00) |" in text
    assert "- official: the predictor (sam2 1.1)." in text
    assert "**It could not be measured: no wheel / for this machine**" in text
    assert "2 rounds of 2; 3 before them" in text


def test_a_peer_that_breaks_with_many_objects_keeps_what_it_did_with_one() -> None:
    run = track_run()
    broken = run.contenders[1].model_copy(update={"problem": "no room"})
    run = run.model_copy(
        update={
            "contenders": (run.contenders[0], broken),
            "series": [series for series in run.series if series.name == "ours"] + [run.series[1]],
        }
    )
    page_text = "\n".join(section(run))
    section_text = "\n".join(summary.section([Record(runs=(run,))]))
    assert "| 8 | official | - | - | - | - | - | - |" in page_text
    assert "**It could not be measured in every case: no room**" in page_text
    assert "| 1 object | 15 | 40 (2.50) |" in section_text
    assert "| 8 objects | 30 | - |" in section_text
    assert "official could not be measured in every case: no room" in section_text


def test_the_table_of_stages_tells_the_share_of_what_was_measured() -> None:
    """2 GFLOP and 20 MB in 20 ms: 100 of 200 GFLOP/s, 1 of 10 GB/s."""
    text = "\n".join(section(model_run()))
    assert "| 1 | image encoder | 20 | 20 | 2 | 20 | 100 | 1 | 50% | 10% |" in text
    assert "| 1 | the rest | 4 | 4 | - | - | - | - | - | - |" in text
    assert "matmul bf16 200 GFLOP/s" in text


def test_in_int8_the_encoder_alone_is_held_against_products_of_bytes() -> None:
    run = model_run()
    subject = SUBJECT.model_copy(update={"dtype": "int8"})
    facts = (*run.facts, Fact(name="matmul", case={"dtype": "int8"}, unit="GFLOP/s", value=400.0))
    run = run.model_copy(update={"subject": subject, "facts": facts})
    assert matmul_limit(run, "image encoder") == 400
    assert matmul_limit(run, "mask decoder") == 200
    assert "reaches 25% of the matrix products" in "".join(summary.section([Record(runs=(run,))]))


def test_a_failure_is_on_the_page() -> None:
    text = page(Record(runs=(a_run("long", failure="it grew"),)), ["long.png"])
    assert "**Failed: it grew**" in text
    assert "![long.png](long.png)" in text


@pytest.mark.slow
def test_plots_are_small_pictures(tmp_path: Path) -> None:
    record = Record(runs=(track_run(), model_run(), deadline_run()))
    drawn = plots.draw(record, tmp_path / "track.json")
    names = ["objects.png", "peers.png", "stages.png", "deadline.png"]
    assert [path.name for path in drawn] == names
    for path in drawn:
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size < 100_000


def test_a_run_with_one_number_of_objects_is_no_line() -> None:
    run = track_run()
    alone = run.model_copy(update={"series": run.series[:2]})
    drawn = plots.pictures_of(Record(runs=(alone,)), Path("track.json"))
    assert [path.name for path in drawn] == ["peers.png"]


def test_the_section_is_made_of_the_records() -> None:
    text = f"# Title\n{summary.BEGIN}\nold\n{summary.END}\nthe end\n"
    records = [Record(runs=(track_run(), model_run(), deadline_run()))]
    changed = summary.replaced(text, records)
    assert changed.startswith(f"# Title\n{summary.BEGIN}\n")
    assert changed.endswith(f"{summary.END}\nthe end\n")
    assert "old" not in changed
    assert "| 8 objects | 30 | 180 (6.00) |" in changed
    assert "cutie could not be measured: no wheel / for this machine" in changed
    assert "the encoder reaches 50% of the matrix products" in changed
    assert f"({summary.PLOTS}/{slug(MACHINE)}-objects.png)" in changed
    line = "deadline of 15 frames/s, 1 to 32 objects and back: mean 14.8, 2 of 3 seconds within"
    assert line in changed
    assert summary.replaced(changed, records) == changed


def test_how_long_a_daemon_takes_to_start_is_told_once() -> None:
    facts = (Fact(name=UNTIL_READY, unit="s", value=6.38),)
    file = a_run("e2e", series=(ms("frame to frame", (40.0, 60.0), objects=1),), facts=facts)
    camera = a_run("e2e", series=(ms("from arrival to the subscriber", (90.0,)),), facts=facts)
    lines = summary.section([Record(runs=(file, camera))])
    assert any(line.endswith("1 object: 20.0 frames/s.") for line in lines)
    assert [line for line in lines if UNTIL_READY in line] == [f"- {UNTIL_READY}, pico: 6.4 s."]


def test_a_long_run_tells_how_much_a_session_grew() -> None:
    facts = [
        Fact(name="growth after a tenth", unit="MiB", value=1.5),
        Fact(name="resident memory", case={"steps": 10000}, unit="MiB", value=900),
        Fact(name="resident memory", case={"steps": 100000}, unit="MiB", value=901.5),
        Fact(name="commands", case={"kind": "add"}, unit="commands", value=700),
        Fact(name="commands", case={"kind": "reset"}, unit="commands", value=600),
    ]
    lines = summary.section([Record(runs=(a_run("long", facts=tuple(facts)),))])
    line = "100,000 frames and 1,300 commands: 1.5 MiB more at its end than after 10,000 frames."
    assert any(found.endswith(line) for found in lines)


def test_what_pages_cost_and_how_soon_a_mask_is_there_is_told() -> None:
    facts = [
        Fact(name="share of the results without pages, a camera's pace", case={"pages": n}, unit="",
             value=value)
        for n, value in ((0, 1.0), (8, 0.953))
    ]  # fmt: skip
    facts.append(Fact(name="load average before", unit="", value=0.5))
    waits = ms("from a click to its mask, picture held 1 s", (100.0, 120.0))
    lines = summary.section([Record(runs=(a_run("studio", series=(waits,), facts=tuple(facts)),))])
    told = "8 pages of the studio that show a stream at a camera's pace leave the daemon 95%"
    assert any(told in line for line in lines)
    assert any(
        "held 1 s: p50 110 ms, p95 119 ms. Load average before: 0.5." in line for line in lines
    )


def test_a_soak_of_the_studio_tells_what_grew() -> None:
    facts = (
        Fact(name="growth of the daemon after a tenth", unit="MiB", value=0.4),
        Fact(name="growth of the tab after a tenth", unit="MiB", value=-1.0),
        Fact(name="frames tracked", unit="frames", value=720123.0),
        Fact(name="memory of the tab", case={"frames": 719000}, unit="MiB", value=160.0),
    )
    lines = summary.section([Record(runs=(a_run("studio-soak", facts=facts),))])
    assert any("720,123 frames" in line and line.endswith("daemon 0.4, tab -1.") for line in lines)


def test_runs_of_a_trial_model_stay_out_of_the_section() -> None:
    run = track_run()
    assert run.subject is not None
    trial = run.model_copy(update={"subject": run.subject.model_copy(update={"model": "pico@128"})})
    assert summary.section([Record(runs=(trial,))]) == []


def test_a_page_without_a_place_is_an_error() -> None:
    with pytest.raises(TrackdError, match="no place for the benchmarks"):
        summary.replaced("# Title\n", [])


@pytest.mark.slow
def test_a_report_writes_a_page_and_plots_beside_each_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tmp_path / "docs" / "benchmarks.md"
    text.parent.mkdir()
    text.write_text(f"{summary.BEGIN}\n{summary.END}\n")
    monkeypatch.setattr("tools.bench.report.write.PAGE", text)
    Record(runs=(track_run(),)).write(tmp_path / "a-cpu" / "track.json")
    names = [path.name for path in write_report(tmp_path)]
    assert names == [
        "track.md",
        "objects.png",
        "peers.png",
        "a-cpu-objects.png",
        "benchmarks.md",
    ]
    assert "| 8 objects |" in text.read_text()


def test_the_pages_equal_what_the_records_give() -> None:
    """If this fails: python -m tools.bench report."""
    records = records_of(RESULTS)
    text = PAGE.read_text()
    assert summary.replaced(text, list(records.values())) == text
    for path, record in records.items():
        shown = [name.name for name in plots.pictures_of(record, path)]
        assert path.with_suffix(".md").read_text() == page(record, shown), path
        for plot in summary.shown_plots(record.runs):
            copy = PAGE.parent / summary.PLOTS / f"{path.parent.name}-{plot}"
            assert copy.read_bytes() == (path.parent / plot).read_bytes()
