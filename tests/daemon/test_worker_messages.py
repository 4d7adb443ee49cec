"""Channel and messages between the daemon and a worker: bounded, checked, and the same again."""

import json
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from tests.support.tracked_frames import disc, event, found, tracked
from tracker.daemon.messages import (
    AcceptCommand,
    Command,
    FindCommand,
    FoundBy,
    ListCommand,
    PromptCommand,
    RelabelCommand,
    RemoveCommand,
    ResetCommand,
    RestoreCommand,
    SaveCommand,
    SetZonesCommand,
)
from tracker.daemon.publish.encoder import FrameEncoder, numbered
from tracker.daemon.telemetry.latency import Latency
from tracker.daemon.telemetry.status import SourceStatus, TrackingStatus
from tracker.daemon.tracking.stream_tracker import CommandResult
from tracker.daemon.workers import messages as say
from tracker.daemon.workers.channel import MAX_PARTS, Channel, ChannelError
from tracker.finders.births import BirthPolicy
from tracker.protocol.data import FrameMessage, MasksMessage, Topic
from tracker.protocol.fields import Encoding, FrameAddress, RleMask, ZoneSettings
from tracker.protocol.replies import (
    FindResult,
    ObjectInfo,
    ObjectsResult,
    PromptResult,
    ProposalInfo,
    StreamState,
)
from tracker.types import ObjectState

CUP = ObjectInfo(id=1, label="cup", state=ObjectState.VISIBLE, score=0.9, box=(1, 2, 3, 4))


@pytest.fixture
def ends() -> Iterator[tuple[Channel, socket.socket]]:
    """A channel, and the bare socket at its other end."""
    ours, theirs = socket.socketpair()
    channel = Channel(ours, max_bytes=1000)
    with theirs:
        yield channel, theirs
        channel.close()


def test_messages_arrive_whole_and_in_order_however_they_are_cut() -> None:
    ours, theirs = socket.socketpair()
    sender, receiver = Channel(ours), Channel(theirs)
    sent = [[b"{}"], [b"one", b"", bytes(3_000_000)], [b"last"]]
    thread = threading.Thread(target=lambda: [sender.send(parts) for parts in sent])
    thread.start()
    assert [receiver.receive(30) for _ in sent] == sent
    thread.join()
    assert receiver.receive(0) is None
    sender.close()
    with pytest.raises(ChannelError):
        receiver.receive(30)
    with pytest.raises(ChannelError):
        receiver.send([b"to nobody"])


@pytest.mark.parametrize(
    "announced",
    [
        struct.pack("!HQ", 1, 1001),
        struct.pack("!H", 0),
        struct.pack("!H", MAX_PARTS + 1),
        struct.pack("!HQQ", 2, 2**63, 2**63),
    ],
)
def test_what_is_too_long_is_an_error_before_it_is_read(
    ends: tuple[Channel, socket.socket], announced: bytes
) -> None:
    channel, theirs = ends
    theirs.sendall(announced)
    with pytest.raises(ChannelError):
        channel.receive(30)


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b'{"type":"submit"}', b'{"type":"ping","more":1}', b"\xff", b"\x80\x04N."],
)
def test_what_is_no_message_is_an_error(data: bytes) -> None:
    with pytest.raises(ChannelError):
        say.to_worker([data])
    with pytest.raises(ChannelError):
        say.from_worker([data])


SEEN = ProposalInfo(box=(1.0, 2.0, 3.5, 4.0), score=0.5, label="cat", area=5.0)
COMMANDS: list[Command] = [
    PromptCommand(None, points=((1.5, 2.0),), labels=(1,), normalized=True, wait_s=2.0),
    PromptCommand(
        3,
        box=(1, 2, 3, 4),
        label="é",
        frame=FrameAddress(seq=7, epoch="0a"),
        draft=True,
        must_exist=True,
        return_mask=True,
    ),
    PromptCommand(2**31 - 1, mask=RleMask(size=(4, 5), counts="03000")),
    PromptCommand(None, text="red car", finder="text"),
    PromptCommand(
        None,
        box=(1, 2, 3, 4),
        found=FoundBy("motion", 0.5, BirthPolicy(max_objects=3), frozenset({1, 7})),
    ),
    FindCommand("text", "cat . dog", FrameAddress(seq=7), 0.5, 4, 1.0),
    AcceptCommand(1),
    RemoveCommand(2),
    ResetCommand(3),
    RelabelCommand(4, None),
    SetZonesCommand({"door": ZoneSettings(line=((0, 1.5), (9, 2)), labels=("é",))}),
    ListCommand(),
    SaveCommand(last=True),
    RestoreCommand(Path("a.safetensors"), True, ((1, None), (2, "cup")), 3, found=(2,)),
    RestoreCommand(Path("a.safetensors"), False, None, 3, b"\x00\xffdata"),
]


def test_every_command_is_tried() -> None:
    assert {type(command) for command in COMMANDS} == set(get_args(Command))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_commands_are_the_same_on_the_other_side(command: Command) -> None:
    parts = say.pack_command(7, "cam1", b"\x00\xff", command)
    submit = say.to_worker(parts)
    assert isinstance(submit, say.Submit)
    assert (submit.id, submit.stream, bytes.fromhex(submit.client)) == (7, "cam1", b"\x00\xff")
    assert say.read_command(submit, parts) == command


@pytest.mark.parametrize(
    "result",
    [
        None,
        b"\x00snapshot",
        CUP,
        ObjectsResult(stream="cam1", objects=[CUP]),
        PromptResult(object=CUP, created=True, frame_seq=7, newest_seq=9, replayed_frames=2),
        FindResult(finder="motion", frame_seq=7, proposals=[SEEN], left_out=2, took_s=0.5),
    ],
    ids=lambda result: type(result).__name__,
)
def test_results_are_the_same_on_the_other_side(result: CommandResult) -> None:
    parts = say.pack_result(7, result)
    done = say.from_worker(parts)
    assert isinstance(done, say.Done)
    assert say.read_result(done, parts) == result


def test_statuses_are_the_same_on_the_other_side() -> None:
    source = SourceStatus("rtsp://***@cam/1", state=StreamState.RETRYING, error="off", frames=7)
    stages = {"encode": Latency(0.1, 0.2, 0.3, 4, 0.5)}
    tracking = TrackingStatus(640, 360, (CUP,), 2, 99, stages=stages, fps=24.5)
    parts = say.pack_report("cam1", 100, source, tracking)
    report = say.from_worker(parts)
    assert isinstance(report, say.Report)
    assert (report.stream, report.next_seq) == ("cam1", 100)
    assert say.read_report(parts) == (source, tracking)
    assert say.read_event(say.pack_event(event(object_id=3, text="a"))) == event(
        object_id=3, text="a"
    )


@pytest.mark.parametrize("encoding", ["rle", "bits", "labelmap-png", "polygon"])
def test_an_encoded_frame_is_the_message_that_a_publisher_sends(encoding: Encoding) -> None:
    objects = (found(1, disc(10, 20)), found(2, disc(40, 20), label=None))
    frame = tracked(5, objects, dropped=3, encoding=encoding)
    encoded = FrameEncoder(latest=True).encode(frame, frozenset({Topic.FRAMES}))
    parts = say.pack_frame(encoded)
    done = say.from_worker(parts)
    assert isinstance(done, say.FrameDone)
    assert say.read_frame(done, parts) == encoded
    message = MasksMessage.model_validate_json(
        numbered(Topic.MASKS, encoded, encoded.body, seq=8, repeated=True)
    )
    assert (message.stream, message.seq, message.repeated, message.dropped) == ("cam1", 8, True, 3)
    assert [obj.id for obj in message.objects] == [1, 2]
    (preview,) = encoded.previews
    picture = json.loads(numbered(Topic.FRAMES, encoded, preview.body, seq=2))
    assert FrameMessage.model_validate(picture).seq == 2
    assert preview.jpeg.startswith(b"\xff\xd8")
    if encoding in ("bits", "labelmap-png"):
        assert encoded.latest is not None
        assert json.loads(encoded.latest)["encoding"] == "rle"
    else:
        assert encoded.latest is None
