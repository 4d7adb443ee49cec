"""`trackd track` on real files, most of them with a tracker by colour in the model's place."""

import json
import signal
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.support.moving_square import (
    HEIGHT,
    WIDTH,
    open_fake_session,
    picture,
    square_xy,
    write_clip,
)
from tests.support.warm_python import python
from tracker.cli.main import main

RED_BOX = "1:4,10,24,30"
GREEN_POINT = "2:100,70"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.mp4", 12)


@pytest.fixture
def colour_model(monkeypatch):
    monkeypatch.setattr("tracker.annotate.run.open_session", open_fake_session)


def frame_times(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        return [round(frame.time * 25) for frame in container.decode(video=0)]


def test_every_output_of_one_run_tells_the_same(clip, tmp_path, colour_model, capsys):
    out, davis, coco = tmp_path / "out.mp4", tmp_path / "masks", tmp_path / "out.json"
    argv = ["track", str(clip), "--box", RED_BOX, "--point", f"{GREEN_POINT}@3"]
    argv += ["--label", "1:red", "--label", "2:green", "--quiet"]
    argv += ["--out", str(out), "--davis", str(davis), "--coco", str(coco), "--json"]
    assert main(argv) == 0

    shown = capsys.readouterr()
    assert shown.err == ""
    summary = json.loads(shown.out)
    assert (summary["frames"], summary["last_frame"], summary["stopped_at"]) == (12, 11, None)
    assert summary["objects"] == [
        {"id": 1, "label": "red", "frames": 12},
        {"id": 2, "label": "green", "frames": 3},
    ]
    assert set(summary["ms_per_frame"]) == {"decode", "encode", "track", "write"}
    lost = {"claimed": 12, "decoded": 12, "missing": 0, "corrupt_packets": 0, "damage": None}
    assert summary["lost"] == lost
    assert summary["outputs"] == {"video": str(out), "davis": str(davis), "coco": str(coco)}

    assert frame_times(out) == list(range(12))
    annotations = json.loads(coco.read_text())["annotations"]
    for index in range(12):
        x, y = square_xy(index)
        assert np.allclose(annotations[0]["bboxes"][index], [x, y, 20, 20], atol=2)
        with Image.open(davis / f"{index:05d}.png") as image:
            ids = set(np.unique(np.asarray(image)).tolist())
        assert ids == ({0, 1, 2} if 3 <= index < 6 else {0, 1})


def test_the_same_prompts_from_a_file_give_the_same_masks(clip, tmp_path, colour_model):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[62:78, 92:108] = 255
    Image.fromarray(mask).save(tmp_path / "green.png")
    prompts = {
        "version": 1,
        "objects": [
            {"id": 1, "prompts": [{"frame": 0, "box": [4, 10, 24, 30]}]},
            {"id": 2, "prompts": [{"frame": 2, "mask": "green.png"}]},
        ],
    }
    (tmp_path / "prompts.json").write_text(json.dumps(prompts))
    typed, filed = tmp_path / "typed.json", tmp_path / "filed.json"
    options = ["--box", RED_BOX, "--mask", f"2:{tmp_path / 'green.png'}@2"]
    assert main(["track", str(clip), *options, "--coco", str(typed), "--quiet"]) == 0
    options = ["--prompts", str(tmp_path / "prompts.json")]
    assert main(["track", str(clip), *options, "--coco", str(filed), "--quiet"]) == 0
    assert typed.read_bytes() == filed.read_bytes()


def test_options_and_file_work_together(clip, tmp_path, colour_model, capsys):
    prompts = {
        "version": 1,
        "objects": [{"id": 1, "prompts": [{"frame": 0, "box": [4, 10, 24, 30]}]}],
    }
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps(prompts))
    argv = ["track", str(clip), "--prompts", str(path), "--point", GREEN_POINT, "--json", "--quiet"]
    assert main(argv) == 0
    assert [item["id"] for item in json.loads(capsys.readouterr().out)["objects"]] == [1, 2]


def test_a_range_of_frames_keeps_their_numbers(clip, tmp_path, colour_model, capsys):
    davis = tmp_path / "masks"
    x, y = square_xy(5)
    argv = ["track", str(clip), "--start", "5", "--stop", "9", "--davis", str(davis)]
    argv += ["--point", f"1:{x + 9},{y + 9}"]
    assert main(argv) == 0
    assert [p.name for p in sorted(davis.iterdir())] == [f"{i:05d}.png" for i in range(5, 9)]
    shown = capsys.readouterr()
    assert "tracked 4 frames" in shown.out
    assert "object 1: on 4 of 4 frames" in shown.out
    assert shown.err.startswith("frame 1/4, ")


def test_an_image_folder(tmp_path, colour_model):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(4):
        Image.fromarray(picture(index)).save(folder / f"{index:05d}.png")
    for number, source in enumerate((folder, folder / "%05d.png")):
        coco, out = tmp_path / f"{number}.json", tmp_path / f"{number}.mp4"
        argv = ["track", str(source), "--box", RED_BOX, "--coco", str(coco), "--out", str(out)]
        assert main([*argv, "--quiet"]) == 0
        video = json.loads(coco.read_text())["videos"][0]
        assert video["file_names"] == [f"pictures/{index:05d}.png" for index in range(4)]
        assert video["length"] == 4
        assert len(frame_times(out)) == 4


def test_an_endless_pattern_up_to_a_stop(tmp_path, colour_model, capsys):
    argv = ["track", "lavfi:testsrc2=size=160x120:rate=30", "--point", "1:20,20", "--stop", "5"]
    assert main([*argv, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["frames"] == 5


def test_existing_files_are_replaced_only_by_whole_ones(clip, tmp_path, colour_model):
    out = tmp_path / "out.mp4"
    out.write_text("an older result")
    assert main(["track", str(clip), "--box", "1:4,10,24,300", "--out", str(out)]) == 2
    assert out.read_text() == "an older result"
    assert main(["track", str(clip), "--box", RED_BOX, "--out", str(out), "--quiet"]) == 0
    assert len(frame_times(out)) == 12


def test_a_truncated_clip_is_tracked_as_far_as_it_goes(tmp_path, colour_model, capsys):
    whole = write_clip(tmp_path / "whole.mp4", 40)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 3 // 4])
    coco = tmp_path / "out.json"
    argv = ["track", str(cut), "--box", RED_BOX, "--coco", str(coco), "--quiet"]
    assert main(argv) == 0
    words = capsys.readouterr().out
    assert main([*argv, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    lost = summary["lost"]
    assert lost["claimed"] == 40
    assert 0 < lost["decoded"] < 40
    assert lost["missing"] == 40 - lost["decoded"]
    assert f"lost {lost['missing']} frames: the source claims 40" in words
    assert json.loads(coco.read_text())["videos"][0]["length"] == summary["frames"]


def test_a_prompt_beyond_what_a_truncated_clip_holds(tmp_path, colour_model, capsys):
    whole = write_clip(tmp_path / "whole.mp4", 40)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 3 // 4])
    coco = tmp_path / "out.json"
    argv = ["track", str(cut), "--box", RED_BOX, "--point", "2:9,9@39", "--coco", str(coco)]
    assert main([*argv, "--quiet"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "prompt for object 2 on frame 39 is past the end of the source" in line
    assert json.loads(coco.read_text())["videos"][0]["length"] < 39


@pytest.mark.slow
def test_the_packaged_model_tracks_the_same_way_on_every_run(bunny_clip, tmp_path, capsys):
    texts = []
    for name in ("first.json", "second.json"):
        argv = ["track", str(bunny_clip), "--box", "1:100,240,570,580", "--stop", "2"]
        assert main([*argv, "--coco", str(tmp_path / name), "--quiet", "--json"]) == 0
        texts.append((tmp_path / name).read_text())
        assert json.loads(capsys.readouterr().out)["model"] == "pico"
    assert texts[0] == texts[1]
    assert all(json.loads(texts[0])["annotations"][0]["segmentations"])


@pytest.mark.slow
def test_corrections_and_removals_in_a_file_reach_the_packaged_model(bunny_clip, tmp_path):
    box = {"frame": 0, "box": [100, 240, 570, 580]}
    click = {"frame": 2, "points": [[330, 400], [20, 20]], "labels": [1, 0]}
    masks = {}
    for name, prompts, removed_at in (
        ("plain", [box], []),
        ("corrected", [box, click], [4]),
    ):
        objects = [{"id": 1, "prompts": prompts, "removed_at": removed_at}]
        path, coco = tmp_path / "prompts.json", tmp_path / f"{name}.json"
        path.write_text(json.dumps({"version": 1, "objects": objects}))
        argv = ["track", str(bunny_clip), "--prompts", str(path), "--stop", "5", "--quiet"]
        assert main([*argv, "--coco", str(coco)]) == 0
        masks[name] = json.loads(coco.read_text())["annotations"][0]["segmentations"]
    plain, corrected = masks["plain"], masks["corrected"]
    assert plain[:2] == corrected[:2]
    assert plain[2] != corrected[2]
    assert all(plain)
    assert [mask is None for mask in corrected] == [False, False, False, False, True]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_whole_files(tmp_path, number):
    out, coco = tmp_path / "out.mp4", tmp_path / "out.json"
    script = (
        "import sys\n"
        "from tests.support import moving_square\n"
        "from tracker.cli import main, track\n"
        "track.open_session = moving_square.open_fake_session\n"
        "sys.exit(main.main(sys.argv[1:]))\n"
    )
    source = "lavfi:testsrc2=size=320x240:rate=25"  # endless
    argv = ["track", source, "--point", "1:160,120", "--out", str(out), "--coco", str(coco)]
    with subprocess.Popen(
        [*python(), "-c", script, *argv, "--json"],
        cwd=Path(__file__).parents[2],
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("frame 1")
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    summary = json.loads(stdout)
    assert summary["stopped_at"] == summary["frames"] - 1
    assert len(frame_times(out)) == summary["frames"]
    assert json.loads(coco.read_text())["videos"][0]["length"] == summary["frames"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.json", "out.mp4"]
