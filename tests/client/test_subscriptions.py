"""What the clients make of what is published, and how they count what is lost."""

import numpy as np
import pytest
import zmq

from tests.support.fake_daemon import FakeDaemon
from tests.support.tracked_frames import disc, event, found, tracked, wait_until
from tracker.client import BadMessage, Client, DaemonUnreachable, received
from tracker.client.received import Gap, Gaps, Picture, Result
from tracker.daemon.publish.encode import EncodedObjects, masks_message, to_json
from tracker.errors import UsageError
from tracker.protocol.fields import PreviewSize
from tracker.types import ObjectState

PATIENCE_S = 20.0


def test_results_hold_objects_and_masks(client: Client, fake: FakeDaemon) -> None:
    shown, hidden = disc(20, 20), np.zeros((48, 64), np.bool_)
    objects = (
        found(1, shown),
        found(2, hidden, label=None, state=ObjectState.OCCLUDED, score=0.1),
    )
    with client.results("cam1", timeout_s=PATIENCE_S) as results:
        fake.publisher.tracked(tracked(5, objects))
        result = next(results)
    assert result.stream == "cam1"
    assert result.message.frame.seq == 5
    assert [(item.id, item.label, item.state.value) for item in result.objects] == [
        (1, "cup", "visible"),
        (2, None, "occluded"),
    ]
    assert list(result.masks()) == [1]
    assert np.array_equal(result.mask(1), shown)
    assert np.array_equal(result.mask(2), hidden)
    with pytest.raises(UsageError, match="no object 3 on this frame; has 1, 2"):
        result.mask(3)


@pytest.mark.parametrize("encoding", ["rle", "bits", "labelmap-png", "polygon"])
def test_results_become_detections(client: Client, fake: FakeDaemon, encoding: str) -> None:
    masks = {1: disc(12, 20), 4: disc(40, 30, radius=9)}
    hidden = found(7, np.zeros((48, 64), np.bool_), state=ObjectState.LOST, score=0.0)
    objects = (found(1, masks[1], score=0.75), hidden, found(4, masks[4], label=None, score=0.5))
    with client.results("cam1", timeout_s=PATIENCE_S) as results:
        fake.publisher.tracked(tracked(0, objects, encoding=encoding))
        detections = next(results).to_supervision()
    assert detections.tracker_id.tolist() == [1, 4]
    assert detections.confidence.tolist() == [0.75, 0.5]
    assert detections.xyxy.tolist() == [[6, 14, 19, 27], [31, 21, 50, 40]]
    assert np.array_equal(detections.mask, np.stack(list(masks.values())))
    assert detections.data["class_name"].tolist() == ["cup", ""]
    assert detections.data["state"].tolist() == ["visible", "visible"]


def test_a_frame_without_objects_has_no_detections(client: Client, fake: FakeDaemon) -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    with client.results(timeout_s=PATIENCE_S) as results:
        fake.publisher.tracked(tracked(0, (), image=image))
        detections = next(results).to_supervision()
    assert len(detections) == 0
    assert detections.mask.shape == (0, 48, 64)


def test_a_stream_is_not_taken_for_one_whose_name_begins_alike(
    client: Client, fake: FakeDaemon
) -> None:
    with client.results("cam1", timeout_s=PATIENCE_S) as results:
        wait_until(lambda: fake.publisher.status().subscriptions)
        fake.publisher.tracked(tracked(0, stream="cam10"))
        fake.publisher.tracked(tracked(0, stream="cam1"))
        assert next(results).stream == "cam1"


def test_who_comes_late_gets_the_newest_once(client: Client, fake: FakeDaemon) -> None:
    fake.publisher.tracked(tracked(0))
    fake.publisher.tracked(tracked(1))
    wait_until(lambda: fake.publisher.status().sent["masks"] == 2)
    with client.results("cam1", timeout_s=PATIENCE_S) as early:
        first = next(early)
        assert (first.message.repeated, first.message.frame.seq, first.lost) == (True, 1, 0)
        with client.results("cam1", timeout_s=PATIENCE_S) as late:
            assert next(late).message.repeated  # the copy is sent to the early one, too
            fake.publisher.tracked(tracked(2))
            second = next(early)
    assert (second.message.repeated, second.message.frame.seq, second.lost) == (False, 2, 0)


def test_previews_come_as_pictures(client: Client, fake: FakeDaemon) -> None:
    with client.frames("cam1", timeout_s=PATIENCE_S) as frames:
        wait_until(lambda: fake.publisher.status().subscriptions)
        fake.publisher.tracked(tracked(3))
        picture = next(frames)
    assert picture.message.frame.seq == 3
    assert picture.jpeg.startswith(b"\xff\xd8")


def test_scenes_are_masks_and_then_previews_of_the_sizes_that_were_asked_for(
    client: Client, fake: FakeDaemon
) -> None:
    with client.scenes("cam1", PreviewSize.TILE, PreviewSize.LARGE, timeout_s=PATIENCE_S) as scenes:
        wait_until(lambda: fake.publisher.status().subscriptions == 3)
        fake.publisher.tracked(tracked(3))
        masks, *pictures = (next(scenes) for _ in range(3))
    assert isinstance(masks, Result) and masks.message.frame.seq == 3
    assert {one.message.size for one in pictures if isinstance(one, Picture)} == {"tile", "large"}
    with pytest.raises(UsageError, match="name the stream"):
        client.frames(None, PreviewSize.TILE)


def test_results_and_events_come_together(client: Client, fake: FakeDaemon) -> None:
    with client.results_and_events("cam1", "cam2", timeout_s=PATIENCE_S) as both:
        wait_until(lambda: fake.publisher.status().subscriptions == 4)
        fake.publisher.event(event(stream="cam2"))
        fake.publisher.event(event(stream="cam3"))
        fake.publisher.tracked(tracked(0))
        seen = {(item.message.type, item.message.stream) for item in (next(both), next(both))}
    assert seen == {("event", "cam2"), ("masks", "cam1")}


def test_silence_is_told_after_the_time_that_was_given(client: Client) -> None:
    with client.results("cam1", timeout_s=0.05) as results:
        assert results.receive(0.01) is None
        with pytest.raises(DaemonUnreachable, match=r"no message from .* within 0.05 s"):
            next(results)


def test_a_closed_client_ends_its_subscriptions(fake: FakeDaemon) -> None:
    with Client(fake.control, fake.data) as client:
        results = client.results("cam1")
    assert list(results) == []


def test_a_slow_reader_is_told_what_it_lost() -> None:
    """While it sleeps messages wait up to a bound; it gets the oldest of them, then the newest."""
    sent, blob = 600, bytes(64_000)

    def publish(seq: int) -> None:
        message = masks_message(tracked(seq), EncodedObjects("rle", []), seq=seq, encoded_s=0.0)
        publisher.send_multipart([b"masks.cam1", to_json(message), blob])

    with zmq.Context() as context, context.socket(zmq.XPUB) as publisher:
        publisher.linger = 0
        publisher.sndhwm = 4
        data = f"tcp://127.0.0.1:{publisher.bind_to_random_port('tcp://127.0.0.1')}"
        with (
            Client(data=data) as client,
            client.results("cam1", timeout_s=PATIENCE_S) as results,
        ):
            assert publisher.recv() == b"\x01masks.cam1"
            for seq in range(sent):
                publish(seq)
            received = 0
            while results.receive(0.2) is not None:
                received += 1
            publish(sent)
            newest = next(results)
    assert newest.message.frame.seq == sent
    assert results.lost == client.lost == sent - received > 0


def test_what_is_no_message_is_an_error(fake: FakeDaemon) -> None:
    tally = received.Tally()
    reader = received.results("cam1", tally)
    for parts in ([b"masks.cam1"], [b"weather.cam1", b"{}"], [b"\xff", b"{}"]):
        with pytest.raises(BadMessage, match="without a known topic"):
            reader.read(parts)
    with pytest.raises(BadMessage, match=r"message on masks\.cam1 is not of protocol v1"):
        reader.read([b"masks.cam1", b'{"v":2}'])
    with pytest.raises(BadMessage, match="without its picture"):
        received.frames(None, None, tally).read([b"frames.cam1", b"{}"])
    assert tally.lost == 0


# --- counting what is lost


@pytest.mark.parametrize(
    ("seqs", "lost"),
    [
        ([0, 1, 2], 0),
        ([7, 8], 0),  # what was sent before the first is not lost
        ([0, 3, 4, 9], 6),
        ([900, 0, 1, 3], 1),  # the numbers began again
    ],
)
def test_gaps_in_the_numbers_are_lost_messages(seqs: list[int], lost: int) -> None:
    gaps = Gaps()
    noted = [gaps.note(b"masks.cam1", seq, at_ns, repeated=False) for at_ns, seq in enumerate(seqs)]
    assert sum(gap.lost for gap in noted if gap is not None) == lost
    assert [gap.restarted for gap in noted if gap is not None] == [
        before > seq for before, seq in zip([-1, *seqs], seqs, strict=False)
    ]


def test_a_copy_counts_only_where_its_message_never_came() -> None:
    gaps = Gaps()

    def copy(seq: int, at_ns: int) -> Gap | None:
        return gaps.note(b"masks.cam1", seq, at_ns, repeated=True)

    assert copy(4, at_ns=40) == Gap(0, restarted=False)
    assert copy(4, at_ns=40) is None
    assert copy(3, at_ns=30) is None
    assert copy(6, at_ns=60) == Gap(1, restarted=False)
    assert copy(0, at_ns=70) == Gap(0, restarted=True)
    assert gaps.note(b"events.cam1", 0, 10, repeated=True) == Gap(0, restarted=False)


def test_only_so_many_topics_are_followed() -> None:
    gaps = Gaps()
    gaps.note(b"masks.first", 5, 0, repeated=False)
    for number in range(received.MAX_TOPICS):
        gaps.note(b"masks.%d" % number, 0, 0, repeated=False)
    forgotten = gaps.note(b"masks.first", 0, 0, repeated=False)
    assert forgotten == Gap(0, restarted=False)


def test_messages_of_an_owner_of_before_are_left_out_and_counted() -> None:
    gaps = Gaps()

    def note(seq: int, epoch: int, *, repeated: bool = False) -> Gap | None:
        return gaps.note(b"masks.cam1", seq, seq, repeated=repeated, owner_epoch=epoch)

    assert note(70, 1) == Gap(0, False)
    assert note(4, 2) == Gap(0, True), "another daemon counts from its own beginning"
    assert note(71, 1) is None
    assert note(900, 2, repeated=True) == Gap(895, False)
    assert note(72, 1, repeated=True) is None
    assert gaps.stale == 2
    assert note(5000, 3) == Gap(0, True), "a higher number of another daemon is no loss"


def test_a_subscription_leaves_out_what_an_owner_of_before_sends(
    client: Client, fake: FakeDaemon
) -> None:
    with client.results("cam1", timeout_s=PATIENCE_S) as results:
        wait_until(lambda: fake.publisher.status().subscriptions)
        for seq, epoch in ((0, 2), (1, 1), (2, 2)):
            fake.publisher.own("cam1", epoch)
            fake.publisher.tracked(tracked(seq))
        assert [next(results).message.frame.seq for _ in range(2)] == [0, 2]
        assert results.stale == 1
