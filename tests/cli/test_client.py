"""The commands that talk to a daemon: what they ask, what they print, how they end."""

import io
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from tests.support.fake_daemon import FakeDaemon, daemon, stream_info, unknown_stream
from tests.support.tracked_frames import disc, found, tracked
from tracker.cli.main import main
from tracker.cli.watch_table import MAX_EVENTS, WatchTable, line
from tracker.client import Event, Result
from tracker.daemon import messages as values
from tracker.daemon.publish.encode import encode_objects, event_message, masks_message
from tracker.protocol.data import EventName
from tracker.protocol.fields import (
    BudgetInfo,
    DeadlineSettings,
    FindSettings,
    FrameAddress,
    RecordSettings,
)
from tracker.protocol.replies import FindingInfo, ObjectInfo, RecordingInfo
from tracker.rle import Rle, decode_rle
from tracker.types import ObjectState

ROOT = Path(__file__).parents[2]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDaemon]:
    """A daemon that the commands find by themselves."""
    with daemon() as fake:
        monkeypatch.setenv("TRACKD_CONTROL", fake.control)
        monkeypatch.setenv("TRACKD_DATA", fake.data)
        monkeypatch.setenv("COLUMNS", "140")
        yield fake


def failure(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a command ended with."""
    (text,) = capsys.readouterr().err.splitlines()
    assert text.startswith("trackd: error: ")
    return text.removeprefix("trackd: error: ")


# --- trackd prompt


def test_prompt_sends_clicks_and_tells_what_came_of_them(
    fake: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["prompt", "cam1", "--box", "1,2,30,40", "--point", "5,6", "--point", "7,8,0"]
    assert main([*argv, "--label", "cup", "--object", "3", "--frame", "7"]) == 0
    (sent,) = fake.requests
    assert (sent.op, sent.stream, sent.object, sent.label) == ("prompt", "cam1", 3, "cup")
    assert (sent.box, sent.points, sent.labels) == ((1, 2, 30, 40), ((5, 6), (7, 8)), (1, 0))
    assert (sent.frame, sent.normalized) == (FrameAddress(seq=7), False)
    assert capsys.readouterr().out == (
        "object 1 cup: visible, score 0.90, box 4,14,17,27  "
        "(new, on frame 7, 2 frames to the newest)\n"
    )


def test_prompt_sends_a_mask(fake: FakeDaemon, tmp_path: Path) -> None:
    mask_hw = disc(20, 20)
    Image.fromarray(mask_hw.astype(np.uint8) * 255).save(tmp_path / "mask.png")
    assert main(["prompt", "cam1", "--mask", str(tmp_path / "mask.png")]) == 0
    (sent,) = fake.requests
    assert np.array_equal(decode_rle(Rle(*sent.mask.size, sent.mask.counts)), mask_hw)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("1207", FrameAddress(seq=1207)),
        ("pts:-90", FrameAddress(pts=-90)),
        ("captured:1700000000000000000", FrameAddress(captured_ns=1_700_000_000_000_000_000)),
    ],
)
def test_prompt_addresses_a_frame(fake: FakeDaemon, text: str, address: FrameAddress) -> None:
    assert main(["prompt", "cam1", "--point", ".5,.5", "--normalized", "--frame", text]) == 0
    (sent,) = fake.requests
    assert (sent.frame, sent.normalized) == (address, True)


def test_prompt_prints_json(fake: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prompt", "cam1", "--point", "5,6", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["object"]["id"], printed["created"], printed["replayed_frames"]) == (1, True, 2)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "give points, a box or a mask"),
        (["--box", "1,2,3"], "--box 1,2,3 is not X0,Y0,X1,Y1"),
        (["--text", "car", "--box", "1,2,3,4"], "give text, or points, a box or a mask, not both"),
        (["--point", "1,2", "--finder", "text"], "a finder is asked with text"),
        (["--point", "1,2,7"], "a click with label 7"),
        (["--point", "1,2", "--frame", "last"], "--frame last is not SEQ|pts:N|captured:NS"),
        (["--point", "1,2", "--frame", "-5"], "--frame -5 is negative"),
        (["--mask", "absent.png"], "absent.png: no such mask file"),
        (["--point", "1,2", "--timeout", "0"], "0 is not a number of seconds"),
        (["--point", "1,2", "--key", "me.key_secret"], "give both or neither"),
    ],
)
def test_a_wrong_prompt_is_one_line_and_not_sent(
    fake: FakeDaemon, capsys: pytest.CaptureFixture[str], options: list[str], says: str
) -> None:
    assert main(["prompt", "cam1", *options]) == 2
    assert says in failure(capsys)
    assert fake.requests == []


def test_a_refusal_is_one_line(fake: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    fake.refuse = unknown_stream("cam9")
    assert main(["prompt", "cam9", "--point", "5,6"]) == 1
    assert failure(capsys) == "there is no stream cam9; there are cam1"


@pytest.mark.parametrize("command", [["prompt", "cam1", "--point", "5,6"], ["streams"], ["watch"]])
def test_without_a_daemon_the_command_says_so(
    capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    assert main([*command, "--control", "tcp://127.0.0.1:1", "--timeout", "0.1"]) == 1
    told = failure(capsys)
    assert "no answer from tcp://127.0.0.1:1 within 0.1 s; is `trackd serve` running?" in told


@pytest.mark.parametrize(
    "command",
    [
        ["prompt", "cam1", "--point", "5,6"],
        ["streams"],
        ["streams", "add", "cam1", "lavfi:testsrc2"],
        ["objects", "cam1"],
        ["watch"],
    ],
)
def test_where_nothing_listens_the_command_says_so_without_waiting(
    capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    assert main([*command, "--control", "tcp://127.0.0.1:1"]) == 1
    assert failure(capsys).startswith(
        "nothing listens on tcp://127.0.0.1:1; start it with `trackd serve`"
    )


@pytest.mark.parametrize(
    ("options", "wait_s"), [([], 10), (["--timeout", "3"], 3), (["--no-wait"], 0)]
)
def test_prompt_waits_for_a_first_frame_unless_told_not_to(
    fake: FakeDaemon, options: list[str], wait_s: float
) -> None:
    assert main(["prompt", "cam1", "--point", "5,6", *options]) == 0
    (sent,) = fake.requests
    assert sent.wait_s == wait_s


# --- trackd streams


def test_streams_shows_how_they_are(fake: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    broken = stream_info("cam2", state="failed", error="401 Unauthorized", width=0, height=0)
    fake.streams.append(broken)
    assert main(["streams"]) == 0
    shown = capsys.readouterr().out
    rows = {text.split()[0]: text.split()[1:] for text in shown.split("\n") if text.strip()}
    assert rows["cam1"] == ["running", "640x480", "30.0", "1", "100", "20", "0"]
    assert rows["cam2"][:2] == ["failed", "30.0"], "no size is known"
    assert "cam1: rtsp://***@10.0.0.5/main" in shown.splitlines()
    assert "cam2: rtsp://***@10.0.0.5/main; 401 Unauthorized" in shown.splitlines()


def test_streams_are_listed_as_json(fake: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (
        ["streams", "--json"],
        ["streams", "list", "--json"],
        ["streams", "--json", "list"],
    ):
        assert main(argv) == 0
        printed = json.loads(capsys.readouterr().out)
        assert [item["stream"] for item in printed["streams"]] == ["cam1"]


def test_no_streams_are_said_to_be_none(
    fake: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.streams.clear()
    assert main(["streams"]) == 0
    assert capsys.readouterr().out == "no streams; see `trackd streams add --help`\n"


def test_streams_add_sends_what_was_given(fake: FakeDaemon) -> None:
    url = "rtsp://user:secret@10.0.0.5/main"
    options = ["--policy", "every", "--encoding", "bits", "--stall-timeout", "5"]
    assert main(["streams", "add", "cam2", url, *options]) == 0
    added, listed = fake.requests
    assert (added.op, added.stream, added.url) == ("stream.add", "cam2", url)
    assert (added.policy, added.encoding, added.stall_timeout_s) == ("every", "bits", 5)
    assert added.model_fields_set >= {"policy", "encoding", "stall_timeout_s"}
    assert not added.model_fields_set & {"realtime", "loop", "open_timeout_s", "preview"}
    assert listed.op == "stream.list"


@pytest.mark.parametrize("action", [["add", "cam2", "clip.mp4"], ["remove", "cam1"]])
def test_a_change_that_a_restart_would_undo_is_told(
    fake: FakeDaemon, capsys: pytest.CaptureFixture[str], action: list[str]
) -> None:
    assert main(["streams", *action]) == 0
    assert capsys.readouterr().err == ""
    fake.unsaved = "no space left"
    assert main(["streams", *action]) == 0
    told = "it is done, but would be undone by a restart of the daemon: no space left"
    assert capsys.readouterr().err == f"trackd: warning: {told}\n"


def test_a_file_is_named_from_the_root(
    fake: FakeDaemon, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["streams", "add", "clip", "clips/a.mp4", "--realtime", "--loop"]) == 0
    assert main(["streams", "add", "pattern", "lavfi:testsrc2"]) == 0
    assert fake.requests[0].url == str(tmp_path / "clips/a.mp4")
    assert (fake.requests[0].realtime, fake.requests[0].loop) == (True, True)
    assert fake.requests[2].url == "lavfi:testsrc2"


def test_a_deadline_is_sent_and_the_quality_level_shown(
    fake: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    budget = BudgetInfo(quality_level=3, input_size=192, memories=4, objects_per_frame=None)
    fake.streams[0] = fake.streams[0].model_copy(update={"budget": budget})
    url = "rtsp://10.0.0.5/main"
    assert main(["streams", "add", "cam2", url, "--deadline", "latency_ms=80"]) == 0
    assert fake.requests[0].deadline == DeadlineSettings(latency_ms=80)
    heading, _, row = capsys.readouterr().out.splitlines()[1:4]
    assert heading.split()[-1] == "quality"
    assert row.split()[-1] == "3"


def test_a_recording_is_asked_for_and_shown(
    fake: FakeDaemon, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    recording = RecordingInfo(
        state="failed",
        error="No space left on device",
        segments=3,
        removed_segments=0,
        bytes=5 * 2**20,
        dropped_packets=0,
        dropped_messages=0,
    )
    fake.streams[0] = fake.streams[0].model_copy(update={"recording": recording})
    url = "rtsp://10.0.0.5/main"
    assert main(["streams", "add", "cam2", url, "--record", str(tmp_path)]) == 0
    assert fake.requests[0].record == RecordSettings(dir=tmp_path)
    shown = capsys.readouterr().out
    heading, _, row = shown.splitlines()[1:4]
    assert heading.split()[-1] == "recording"
    assert row.split()[-3:] == ["failed", "5", "MiB"]
    assert "cam1: recording: No space left on device" in shown
    assert main(["streams", "record", "cam1", "off"]) == 0
    assert (fake.requests[2].op, fake.requests[2].on) == ("stream.record", False)


@pytest.mark.parametrize("target", ["15", "fps=0", "fps=x", "speed=9", "fps="])
def test_what_is_no_deadline_is_refused(
    fake: FakeDaemon, capsys: pytest.CaptureFixture[str], target: str
) -> None:
    assert main(["streams", "add", "cam2", "rtsp://10.0.0.5/main", "--deadline", target]) == 2
    assert "write fps=15 or latency_ms=80" in failure(capsys)
    assert not fake.requests


@pytest.mark.parametrize("action", ["remove", "pause", "resume"])
def test_streams_are_changed(fake: FakeDaemon, action: str) -> None:
    assert main(["streams", action, "cam1"]) == 0
    assert [(item.op, getattr(item, "stream", "")) for item in fake.requests] == [
        (f"stream.{action}", "cam1"),
        ("stream.list", ""),
    ]


def test_an_address_that_is_refused_keeps_its_secrets(
    fake: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "rtsp://user:secret@10.0.0.5/main"
    assert main(["streams", "add", "cam 1", url, "--stall-timeout", "-1"]) == 2
    told = failure(capsys)
    assert "stream: " in told
    assert "stall_timeout_s: " in told
    assert "secret" not in told


def test_a_finder_is_given_to_a_stream_and_shown(
    fake: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.streams[0] = stream_info(
        "cam1",
        finding=FindingInfo(
            finder="text",
            error="no model",
            searches=9,
            failures=2,
            found=4,
            expired=1,
            median_s=0.25,
        ),
    )
    assert main(["streams", "add", "cam2", "clip.mp4", "--find", "text:cat . dog"]) == 0
    added, _ = fake.requests
    assert added.find == FindSettings(finder="text", query="cat . dog")
    told = "cam1: finder text: 4 objects found, 1 of them expired, 9 searches of 250 ms, 2 of them"
    assert f"{told} failed; no model" in capsys.readouterr().out.splitlines()
    assert main(["streams", "add", "cam2", "clip.mp4", "--find", ":cat"]) == 2
    assert "write motion, or text:cat.dog" in failure(capsys)


# --- trackd find --live


@pytest.mark.parametrize(
    ("options", "finder", "text"),
    [
        ([], None, None),
        (["--text", "red car"], "text", "red car"),
        (["--finder", "detector:dog"], "detector", "dog"),
        (["--everything"], "everything", None),
    ],
)
def test_a_finder_is_asked_about_a_stream(
    fake: FakeDaemon,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    finder: str | None,
    text: str | None,
) -> None:
    argv = ["find", "cam1", "--live", *options]
    assert main([*argv, "--frame", "7", "--min-score", "0.5"]) == 0
    (sent,) = fake.requests
    assert (sent.op, sent.stream, sent.finder, sent.text) == ("find", "cam1", finder, text)
    assert (sent.frame, sent.min_score) == (FrameAddress(seq=7), 0.5)
    assert capsys.readouterr().out.splitlines() == [
        "1 found by text on frame 7",
        "   1  cup  score 0.80  box 4,14,17,27  area 169",
    ]
    assert main([*argv, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["proposals"][0]["label"] == "cup"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--live", "--find-set", "a=1"], "--find-set is not for --live"),
        (["--live", "--out", "a.png"], "--out is not for --live"),
        (["--live", "--detect", "a:b"], "--detect MODEL is not for --live"),
        (["--live", "--min-score", "2"], "--min-score 2; give a number from 0 to 1"),
        (["--motion", "--frame", "3"], "--frame without --live"),
    ],
)
def test_what_a_stream_cannot_be_asked_is_one_line(
    fake: FakeDaemon, capsys: pytest.CaptureFixture[str], options: list[str], says: str
) -> None:
    assert main(["find", "cam1", *options]) == 2
    assert says in failure(capsys)
    assert not fake.requests


def test_an_object_is_prompted_by_words(fake: FakeDaemon) -> None:
    assert main(["prompt", "cam1", "--text", "red car", "--finder", "text", "--label", "car"]) == 0
    (sent,) = fake.requests
    assert (sent.text, sent.finder, sent.label) == ("red car", "text", "car")


# --- trackd objects


def test_objects_are_listed(fake: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    hostile = ObjectInfo(id=2, label="\x1b[2Jx", state=ObjectState.LOST, score=0.0, box=None)
    fake.objects.append(hostile)
    assert main(["objects", "cam1"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "object 1 cup: visible, score 0.90, box 4,14,17,27",
        "object 2 ?[2Jx: lost, score 0.00",
    ]
    assert main(["objects", "cam1", "list", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [item["id"] for item in printed["objects"]] == [1, 2]
    fake.objects.clear()
    assert main(["objects", "cam1"]) == 0
    assert capsys.readouterr().out.startswith("cam1 tracks nothing")


def test_objects_are_changed(fake: FakeDaemon) -> None:
    assert main(["objects", "cam1", "remove", "3"]) == 0
    assert main(["objects", "cam1", "reset", "4"]) == 0
    assert main(["objects", "cam1", "relabel", "5", "red cup"]) == 0
    assert main(["objects", "cam1", "relabel", "6"]) == 0
    sent = [item for item in fake.requests if item.op != "object.list"]
    assert [(item.op, item.object) for item in sent] == [
        ("object.remove", 3),
        ("object.reset", 4),
        ("object.relabel", 5),
        ("object.relabel", 6),
    ]
    assert [sent[2].label, sent[3].label] == ["red cup", None]


# --- trackd watch


@contextmanager
def playing(fake: FakeDaemon) -> Iterator[None]:
    """A daemon that tells of a frame and an event, over and over, while someone listens."""
    stop = threading.Event()

    def play() -> None:
        seq = 0
        while not stop.wait(0.02):
            if fake.publisher.status().subscriptions:
                fake.publisher.tracked(tracked(seq, (found(1, disc(20, 20)),)))
                state = ObjectState.OCCLUDED
                fake.publisher.event(
                    values.Event("cam1", EventName.OBJECT_STATE, seq, seq, 1, state, "cup")
                )
                seq += 1

    thread = threading.Thread(target=play)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_watch_prints_a_line_for_each_frame(
    fake: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    with playing(fake):
        assert main(["watch", "cam1", "--count", "3"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = captured.out.splitlines()
    assert len(lines) == 3
    for text in lines:
        assert text.startswith("cam1 frame ")
        assert text.endswith(" ms  1 cup visible 0.90 14,14,27,27")


def test_watch_prints_messages_as_json(
    fake: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    with playing(fake):
        assert main(["watch", "--json", "--events", "--count", "8"]) == 0
    printed = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert {item["type"] for item in printed} == {"masks", "event"}
    assert all(item["lost"] == 0 for item in printed)
    masks = [item for item in printed if item["type"] == "masks"]
    assert masks[0]["objects"][0]["mask"]["size"] == [48, 64]


def test_watch_says_which_streams_are_not_there(
    fake: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    with playing(fake):
        assert main(["watch", "cam1", "cam9", "--count", "1"]) == 0
    assert capsys.readouterr().err == "trackd: no stream cam9 yet; waiting for it\n"


def test_watch_counts_what_was_lost() -> None:
    message = masks_message(
        tracked(5), encode_objects((), "rle", 48, 64), seq=9, encoded_s=time.monotonic()
    )
    assert line(Result(message, (), lost=4)).endswith("nothing  lost 4")


def run_watch(fake: FakeDaemon, stdout: int, *argv: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "tracker.cli.main", "watch", *argv],
        cwd=ROOT,
        env={**os.environ, "TERM": "xterm", "LANG": "C.UTF-8", "PYTHONIOENCODING": "utf-8"},
        stdout=stdout,
        stderr=subprocess.PIPE,
        # It is ignored in what a shell starts in the background, the tests perhaps among it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def interrupted(process: "subprocess.Popen[bytes]") -> None:
    """Ctrl-C ends it, and it has nothing to complain about."""
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=60)
    assert (process.returncode, complaint) == (130, b"")


@pytest.mark.slow
def test_watch_ends_with_ctrl_c(fake: FakeDaemon) -> None:
    with playing(fake), run_watch(fake, subprocess.PIPE, "--json") as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["stream"] == "cam1"
        interrupted(process)


@pytest.mark.slow
def test_watch_ends_when_its_reader_leaves(fake: FakeDaemon) -> None:
    with playing(fake), run_watch(fake, subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(60) == 1
        assert process.stderr is not None
        assert process.stderr.read() == b""


@pytest.mark.slow
def test_watch_draws_a_table_on_a_terminal(fake: FakeDaemon) -> None:
    ours, theirs = pty.openpty()
    shown = b""
    with playing(fake), run_watch(fake, theirs, "--events") as process:
        os.close(theirs)
        while b"14,14,27,27" not in shown or b"object.state" not in shown:
            shown += os.read(ours, 65536)
        process.send_signal(signal.SIGINT)
        drain = threading.Thread(target=_read_all, args=(ours,))
        drain.start()
        _, complaint = process.communicate(timeout=60)
        drain.join()
    os.close(ours)
    assert (process.returncode, complaint) == (130, b"")


def _read_all(terminal: int) -> None:
    try:
        while os.read(terminal, 65536):
            pass
    except OSError:  # the other side is closed
        pass


def drawn(table: WatchTable, now_s: float) -> list[str]:
    text = io.StringIO()
    Console(file=text, width=120).print(table.render(now_s))
    return text.getvalue().splitlines()


def result(seq: int, *, stream: str = "cam1", lost: int = 0) -> Result:
    objects = (
        found(1, disc(20, 20)),
        found(2, np.zeros((48, 64), np.bool_), label="[red]", state=ObjectState.LOST, score=0),
    )
    frame = tracked(seq, objects, stream=stream)
    encoded = encode_objects(objects, "rle", 48, 64)
    message = masks_message(frame, encoded, seq=seq, encoded_s=frame.live.arrived_s + 0.045)
    return Result(message, (), lost=lost)


def change(name: EventName, **more: object) -> Event:
    return Event(event_message(values.Event("cam1", name, 0, **more), seq=0))


def test_the_table_follows_the_messages() -> None:
    table = WatchTable(show_events=True)
    table.note(change(EventName.STREAM_RUNNING, text="opened"), 0.0)
    for seq in range(11):
        table.note(result(seq, lost=seq == 5), seq / 10)
    rows = [[cell.strip() for cell in text.split("│")[1:-1]] for text in drawn(table, 1.0)]
    assert [
        "cam1 running",
        "10.0",
        "45 ms",
        "1",
        "1",
        "cup",
        "visible",
        "0.90",
        "14,14,27,27",
    ] in rows
    assert ["", "", "", "", "2", "[red]", "lost", "0.00", ""] in rows
    assert drawn(table, 1.0)[-1] == "cam1 stream.running opened"
    assert any("silent 5 s" in text for text in drawn(table, 6.0))


def test_the_table_forgets_a_removed_stream_and_old_events() -> None:
    table = WatchTable(show_events=True)
    table.note(result(0), 0.0)
    for number in range(MAX_EVENTS):
        table.note(change(EventName.OBJECT_REMOVED, object_id=number + 1), 0.0)
    table.note(change(EventName.STREAM_REMOVED), 0.0)
    shown = drawn(table, 0.0)
    assert not any(text.startswith("│ cam1") for text in shown)
    assert shown[-MAX_EVENTS:] == [
        *(f"cam1 object.removed object {number}" for number in range(2, MAX_EVENTS + 1)),
        "cam1 stream.removed",
    ]


# --- help


@pytest.mark.slow
@pytest.mark.parametrize("command", ["prompt", "watch", "streams", "objects", "doctor"])
def test_help_is_quick(command: str) -> None:
    script = (
        "import sys\n"
        "from tracker.cli.main import main\n"
        f"try:\n    main(['{command}', '--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'supervision', 'av', 'cv2', 'zmq'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"usage: trackd {command}" in done.stdout
