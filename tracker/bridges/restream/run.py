"""`trackd restream`: pictures of a stream to a destination, until it is to stop."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from tracker.bridges.repeated import RepeatedWarning
from tracker.bridges.restream.destination import Destination
from tracker.bridges.restream.pictures import Hiding, Pictures
from tracker.bridges.restream.sender import Sender
from tracker.bridges.scenes import Scenes
from tracker.client import Client
from tracker.effects.base import EffectRequest, EffectSpec
from tracker.errors import TrackdError
from tracker.protocol.fields import PreviewSize

_LOG = logging.getLogger("trackd.restream")


@dataclass(frozen=True, kw_only=True)
class RestreamSettings:
    """Settings of a restream.

    Attributes:
        stream: Name of the stream.
        to: Where it is sent to.
        size: Of the pictures.
        bitrate: Bits per second.
        effects: Drawn on the pictures.
        hiding: What nobody may see; None for nothing.
    """

    stream: str
    to: Destination
    size: PreviewSize = PreviewSize.LARGE
    bitrate: int = 4_000_000
    effects: tuple[tuple[EffectSpec, EffectRequest], ...] = ()
    hiding: Hiding | None = None


@dataclass
class Counts:
    """Pictures so far.

    Attributes:
        sent: Passed on.
        dropped: For which there was no connection.
        lost: Messages that never came, pictures without their own masks, damaged ones, and those
            that a newer one was there for.
        reconnects: Connections after the first.
    """

    sent: int = 0
    dropped: int = 0
    lost: int = 0
    reconnects: int = 0


def run(client: Client, settings: RestreamSettings, should_stop: Callable[[], bool]) -> Counts:
    """Send pictures until it is to stop.

    Raises:
        TrackdError: The first connection fails, or the reader of standard output left.
    """
    scenes = Scenes(client, settings.stream, settings.size)
    pictures = Pictures(settings.effects, settings.hiding)
    sender = Sender(settings.to, settings.bitrate)
    damaged, left_out = 0, RepeatedWarning(_LOG)
    try:
        for scene in scenes.newest(should_stop):
            try:
                shots = list(pictures.of(scene))
            except TrackdError as error:  # never without its own masks
                damaged += 1
                left_out.say(f"{settings.stream}: a picture was left out: {error}")
                continue
            for shot in shots:
                assert shot.frame.pts is not None and shot.frame.time_base is not None
                sender.send(shot.image_hwc, shot.frame.pts * shot.frame.time_base)
    finally:
        sender.close()
    lost = scenes.lost + scenes.unpaired + scenes.skipped + damaged
    return Counts(sender.sent, sender.dropped, lost, sender.reconnects)
