"""`python -m tools.simulate`: its tables, its file of constants, and what it refuses."""

import json
from pathlib import Path

import pytest

from tools.simulate import command
from tools.simulate.constants import Constants, describe, load_constants
from tools.simulate.fleet import FleetSimulation
from tools.simulate.table import constants_table, parts_table

DOCS = Path(__file__).parents[2] / "docs" / "scale.md"


def test_sizes_stand_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--cameras", "10", "50", "--years", "0.1"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Simulated, not run: 0.1 years of each size, seed 0.\n")
    rows = [line for line in out.splitlines() if line.startswith("|")]
    assert rows[0] == "| cameras | 10 | 50 |"
    assert {row.count("|") for row in rows[:20]} == {4}


def test_a_size_without_outages_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--cameras", "1", "--years", "1e-6"]) == 0
    assert "| seconds to go on, median | - |" in capsys.readouterr().out


def test_constants_are_changed_by_yaml_and_json(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("node_cores: 32\nnode_mtbf_h: 1e4\n")
    (tmp_path / "a.json").write_text(json.dumps({"node_cores": 32, "node_mtbf_h": 1e4}))
    found = [load_constants(tmp_path / name) for name in ("a.yaml", "a.json")]
    assert found[0] == found[1]
    assert (found[0].node_cores, found[0].node_mtbf_h) == (32, 1e4)
    assert found[0].decode_ms == Constants().decode_ms


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("node_coers: 8", "there is no constant node_coers; see --list-constants"),
        ("node_cores: 0", "node_cores: Input should be greater than or equal to 1"),
        ("decode_ms: .nan", "decode_ms: Input should be a finite number"),
        ("decode_ms: .inf", "decode_ms: "),
        ("decode_ms: -1", "decode_ms: Input should be greater than or equal to 0.0"),
        ("target_share: 2", "target_share: Input should be less than or equal to 1"),
        ("3: 4", "there is no constant 3"),
        ("[1, 2]", "holds no keys"),
        ("", "holds no keys"),
        ("a: [", "is no YAML"),
        ("node_cores: " + "9" * 5000, "is no YAML"),
        ("#" * 70_000, "is larger than 65536 bytes"),
        ("node_mib: 1000", "a node of these constants holds no stream"),
    ],
)
def test_a_wrong_file_is_one_line_and_2(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.yaml").write_text(text)
    assert command.main(["--constants", str(tmp_path / "c.yaml"), "--cameras", "10"]) == 2
    err = capsys.readouterr().err.splitlines()
    assert said in err[-1]
    assert err[-1].startswith("simulate: error: ")


@pytest.mark.parametrize(
    "words",
    [
        ["--cameras", "0"],
        ["--cameras", "ten"],
        ["--cameras", "1000000"],
        ["--years", "nan"],
        ["--years", "-1"],
        ["--constants", "no/such.yaml"],
        ["--sead", "1"],
    ],
)
def test_wrong_usage_is_one_line_and_2(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(words) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_ctrl_c_keeps_the_sizes_before(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = FleetSimulation.run

    def interrupted_at_100(self: FleetSimulation, hours: float) -> object:
        if len(self.streams) == 100:
            raise KeyboardInterrupt
        return run(self, hours)

    monkeypatch.setattr(FleetSimulation, "run", interrupted_at_100)
    assert command.main(["--cameras", "10", "100", "--years", "0.1"]) == 130
    assert "| cameras | 10 |" in capsys.readouterr().out


def test_each_constant_has_a_unit_and_an_origin() -> None:
    for constant in describe(Constants()):
        assert constant.origin.source.startswith(("`python -m tools.", "assumed")), constant.name


def test_the_page_has_the_tables_as_they_are() -> None:
    page = DOCS.read_text()
    assert constants_table(Constants()) in page
    assert parts_table(Constants(), [10, 100, 1000, 10_000]) in page


@pytest.mark.slow
def test_what_this_machine_measures_are_constants(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from tools.simulate import measure

    for name, value in (("_FRAMES", 2), ("_DECODED", 2), ("_REQUESTS", 50), ("_PARSED", 5)):
        monkeypatch.setattr(measure, name, value)
    assert measure.main() == 0
    (tmp_path / "here.yaml").write_text(capsys.readouterr().out)
    here = load_constants(tmp_path / "here.yaml")
    # An object has 200 KiB of memories (`python -m tools.bench model`).
    assert here.snapshot_bytes_4 > here.snapshot_bytes_1 > 200 * 1024
    # A JSON row of six names, and values of a few characters each.
    assert 80 < here.heartbeat_stream_bytes < 200
