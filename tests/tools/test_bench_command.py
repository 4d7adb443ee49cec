"""`python -m tools.bench`: what it refuses, what it leaves behind, peers that break."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.bench_runs import a_run
from tools.bench import command, decode
from tools.bench.command import main
from tools.bench.footage import Size, parse_size, square_masks
from tools.bench.models import find_weights
from tools.bench.peers import process
from tools.bench.peers.catalogue import PEERS, Peer
from tools.bench.peers.process import PeerError, PeerProcess, install
from tools.bench.record import Record
from tools.bench.turns import take_turns
from tracker.errors import UsageError
from tracker.models.optim.fused_conv import can_fuse


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "arguments are required: SUITE"),
        (["nosuch"], "invalid choice: 'nosuch'"),
        (["track", "--objects", "1,0"], "invalid wholes value: '1,0'"),
        (["track", "--rounds", "0"], "invalid whole value: '0'"),
        (["track", "--size", "854"], "invalid parse_size value: '854'"),
        (["track", "--against", "sam7"], "there is no peer 'sam7'; choose of ours-unbatched,"),
        (["track", "--against", "ours"], "there is no peer 'ours'"),
        (["track", "--model", "nosuch"], "unknown model 'nosuch'"),
        (["track", "--model", "pico@100"], "pico@PIXELS takes a multiple of 32"),
        (["track", "--model", "sam2.1-tiny@128"], "official models keep their size"),
        (["track", "--clip", "no/such.mp4"], "there is no clip no/such.mp4; give --clip FILE"),
        (["model", "--device", "cuda:99"], "'cuda:99' is not available here"),
        (["parity", "--frames", "9"], "9 frames are too few; give at least 16"),
        (["deadline", "--objects", "33"], "33 objects; give at most 32"),
        (["refind", "--data", "no/such"], "no folder no/such; give --data DIR"),
        (["refind", "--data", ".", "--policies", "none"], "there is no policy 'none'"),
        (["long", "--steps", "3"], "3 steps are too few; give at least 10"),
    ],
)
def test_wrong_usage_is_one_line_and_2(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert said in err


def test_a_failure_of_the_clip_is_one_line_and_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"no video")
    assert main(["decode", "--clip", str(clip), "--out", str(tmp_path / "o.json")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "o.json").exists()


def test_a_run_is_kept_and_shown_and_fails_where_it_shows_less_than_it_was_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "o.json"
    for failure, code in (("", 0), ("it grew", 1)):
        run = a_run("decode", failure=failure)
        monkeypatch.setattr(decode, "measure", lambda options, run=run: run)
        assert main(["decode", "--out", str(out)]) == code
        assert Record.read(out).runs == (run,)
    captured = capsys.readouterr()
    assert "## decode, a setting" in captured.out
    assert captured.err == "bench: it grew\n"


def test_results_lie_by_machine_and_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "RESULTS", tmp_path)
    monkeypatch.setattr(decode, "measure", lambda options: a_run("decode"))
    assert main(["decode"]) == 0
    assert Record.read(tmp_path / "a-cpu-2-cpus" / "decode.json").runs == (a_run("decode"),)


def test_turns_go_round_after_a_warm_up() -> None:
    called = ""

    def note(name: str) -> None:
        nonlocal called
        called += name

    times = take_turns(
        {name: lambda name=name: note(name) for name in "ab"}, rounds=2, each=3, warm_up=1
    )
    assert called == "ab" + "aaabbb" * 2
    assert {name: [len(turn) for turn in rounds] for name, rounds in times.items()} == {
        "a": [3, 3],
        "b": [3, 3],
    }


@pytest.mark.parametrize("count", [1, 8, 16, 17, 32])
def test_objects_stand_apart(count: int) -> None:
    masks_nhw = square_masks(count, 96, 160)
    assert masks_nhw.shape == (count, 96, 160)
    assert masks_nhw.any(axis=(1, 2)).all()
    assert masks_nhw.sum(axis=0).max() == 1


def test_a_size_is_two_numbers() -> None:
    assert parse_size("854x480") == Size(854, 480)
    for text in ("854", "0x480", "ax3", "-1x3"):
        with pytest.raises(ValueError, match=text):
            parse_size(text)


def test_weights_that_are_not_here_are_random_and_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKD_MODELS", str(tmp_path / "none"))
    monkeypatch.setattr("tools.bench.models.CACHE", tmp_path)
    made = tmp_path / "sam2.1-tiny-seed0.safetensors"
    made.write_bytes(b"from an earlier run")
    weights = find_weights("sam2.1-tiny")
    assert (weights.path, weights.origin, weights.input_px) == (made, "random (seed 0)", 1024)


def test_only_known_models_can_be_resized() -> None:
    with pytest.raises(UsageError, match="multiple of 32"):
        find_weights("pico@0")


def fake(name: str, *arguments: str, needs: tuple[str, ...] = ()) -> Peer:
    return Peer(name, "tests.support.bench_peers", "it does nothing", arguments, needs)


@pytest.mark.slow
@pytest.mark.usefixtures("warm_executable")
def test_peers_that_break_are_in_the_table_with_the_reason(
    tmp_path: Path, bunny_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "CACHE", tmp_path)
    missing = tmp_path / "missing.whl"
    for peer in (
        fake("ours"),
        fake("unbuilt", "build"),
        fake("fallen", "step"),
        fake("wrong", "masks"),
        fake("missing", needs=(str(missing),)),
    ):
        monkeypatch.setitem(PEERS, peer.name, peer)
    out = tmp_path / "track.json"
    options = ["--against", "unbuilt,fallen,wrong,missing", "--objects", "1,3", "--rounds", "2"]
    options += ["--frames", "2", "--warm-up", "1", "--size", "64x36", "--model", "pico@128"]
    assert main(["track", *options, "--out", str(out)]) == 0
    (run,) = Record.read(out).runs
    assert [(s.name, s.case, [len(r) for r in s.rounds]) for s in run.series] == [
        ("ours", {"objects": 1}, [2, 2]),
        ("ours", {"objects": 3}, [2, 2]),
    ]
    problems = {one.name: one.problem for one in run.contenders}
    assert problems.pop("ours") == ""
    assert problems["unbuilt"] == "RuntimeError: no such network"
    assert problems["fallen"] == "its process ended: it fell over"
    assert problems["wrong"] == "ValueError: a mask is bool (2, 2)"
    assert "pip cannot install it" in problems["missing"]


@pytest.mark.slow
@pytest.mark.usefixtures("warm_executable")
def test_ours_may_not_break(
    tmp_path: Path,
    bunny_clip: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(PEERS, "ours", fake("ours", "build"))
    options = ["--against", "official", "--size", "64x36", "--model", "pico@128"]
    assert main(["track", *options, "--out", str(tmp_path / "track.json")]) == 1
    assert "no such network" in capsys.readouterr().err


def test_a_peer_sees_its_own_folder_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "CACHE", tmp_path)
    folder = tmp_path / "peers" / "own"
    folder.mkdir(parents=True)
    (folder / ".installed").write_text("own==1")
    (folder / "own_peer.py").write_text(
        "import json\nprint(json.dumps({'model': __file__}), flush=True)\n"
    )
    peer = Peer("own", "own_peer", "", needs=("own==1",))
    assert install(peer) == folder
    with PeerProcess(peer, model="pico", dtype="fp32", device="cpu") as running:
        assert running.about == {"model": str(folder / "own_peer.py")}
        with pytest.raises(PeerError, match="its process ended: it said nothing"):
            running.step(1)


def test_a_peer_finds_what_we_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_peer.py").write_text(
        "import json\nprint(json.dumps({'model': __file__}), flush=True)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    peer = Peer("own", "own_peer", "")
    with PeerProcess(peer, model="pico", dtype="fp32", device="cpu") as running:
        assert running.about == {"model": str(tmp_path / "own_peer.py")}


@pytest.mark.slow
def test_what_was_measured_quickly_is_whole(tmp_path: Path, bunny_clip: Path) -> None:
    out = tmp_path / "quick.json"
    for suite in ("decode", "wire"):
        assert main([suite, "--quick", "--out", str(out)]) == 0
    runs = Record.read(out).runs
    assert [run.suite for run in runs] == ["decode", "wire"]
    assert all(series.samples for run in runs for series in run.series)
    assert json.loads(out.read_text())["version"] == 1


@pytest.mark.slow
@pytest.mark.usefixtures("warm_daemons")
def test_a_file_goes_through_the_daemon(tmp_path: Path, bunny_clip: Path) -> None:
    out = tmp_path / "quick.json"
    assert main(["e2e", "--quick", "--out", str(out)]) == 0
    (run,) = Record.read(out).runs
    gaps = run.find("frame to frame", objects=1)
    assert gaps is not None and [len(turn) for turn in gaps.rounds] == [5, 5]


@pytest.mark.skipif(not can_fuse(), reason="a frame in bf16 takes minutes on this processor")
def test_the_gpu_script_runs_whole_on_a_cpu(tmp_path: Path, bunny_clip: Path) -> None:
    """The same calls as on a GPU, a tiny model in place of two and no compiled predictor."""
    script = Path(__file__).parents[2] / "tools" / "bench" / "gpu.sh"
    settings = {"PYTHON": sys.executable, "DEVICE": "cpu", "QUICK": "--quick"}
    settings |= {"MODELS": "pico", "PEERS": "official", "PATIENCE": "9"}
    done = subprocess.run(
        ["bash", str(script), str(tmp_path / "gpu.json")],
        env=os.environ | settings | {"OMP_WAIT_POLICY": "passive"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    runs = {run.suite: run for run in Record.read(tmp_path / "gpu.json").runs}
    assert set(runs) == {"parity", "model", "track"}
    assert not any(run.failure for run in runs.values())
    filled = [fact.value for fact in runs["parity"].facts if fact.name == "masks not empty"]
    assert len(filled) == 3 and min(filled) > 0
    stages = [s.name for s in runs["model"].series if s.case == {"objects": 2}]
    assert stages == [
        "image encoder", "memory attention", "mask decoder", "memory encoder", "the rest",
    ]  # fmt: skip
    one, two = (runs["model"].fact("FLOPs of memory attention", objects=count) for count in (1, 2))
    assert one is not None and two == 2 * one
    tracked = [(s.name, s.case["objects"]) for s in runs["track"].series if s.samples]
    assert tracked == [("ours", 1), ("official", 1), ("ours", 2), ("official", 2)]


def test_the_gpu_script_tells_what_failed(tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "tools" / "bench" / "gpu.sh"
    done = subprocess.run(
        ["bash", str(script), str(tmp_path / "gpu.json")],
        env=os.environ | {"PYTHON": "false"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("failed, or took too long: parity --model pico") == 1
