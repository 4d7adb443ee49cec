"""Live server of Foxglove: pictures, and the masks and names of objects as annotations."""

import math
from typing import Any

import foxglove
from foxglove.channels import CompressedImageChannel, ImageAnnotationsChannel
from foxglove.messages import (
    Color,
    CompressedImage,
    ImageAnnotations,
    Point2,
    PointsAnnotation,
    PointsAnnotationType,
    TextAnnotation,
    Timestamp,
)

from tracker.bridges.scenes import Scene
from tracker.bridges.view.base import title
from tracker.colours import OBJECT_COLOURS
from tracker.errors import TrackdError
from tracker.exporters.polygons import outlines
from tracker.protocol.data import ObjectMessage

HOST = "127.0.0.1"
BACKLOG = 16
"""Messages that wait for a slow viewer; the oldest go first."""

_NS = 1_000_000_000
_FILLED, _DRAWN = 0.35, 1.0  # opacity
_TOLERANCE_PX = 0.7


class FoxgloveView:
    """Server on loopback that Foxglove connects to.

    Args:
        stream: Name of the stream, and of its topics `/STREAM/picture` and `/STREAM/objects`.
        port: To listen on; 0 takes any.

    Attributes:
        address: For "Open connection" in Foxglove.

    Raises:
        TrackdError: The port is taken.
    """

    def __init__(self, stream: str, port: int) -> None:
        self._context = context = foxglove.Context()  # without it the channels close
        try:
            self._server = foxglove.start_server(
                name="trackd", host=HOST, port=port, context=context, message_backlog_size=BACKLOG
            )
        except (RuntimeError, OSError) as error:
            raise TrackdError(
                f"cannot listen on {HOST}:{port}: {error}", "choose another --port"
            ) from error
        self.address = f"ws://{HOST}:{self._server.port}"
        self._pictures = CompressedImageChannel(f"/{stream}/picture", context=context)
        self._objects = ImageAnnotationsChannel(f"/{stream}/objects", context=context)
        self._stream = stream

    def show(self, scene: Scene) -> None:
        """Publish a picture and its annotations.

        Raises:
            TrackdError: The masks are damaged.
        """
        captured_ns = scene.picture.message.frame.captured_ns
        time = Timestamp(*divmod(captured_ns, _NS))
        shown = scene.shown
        points = [one for item in shown for one in _outlines(scene, item, time)]
        texts = [_name(scene, item, time) for item in shown]
        picture = CompressedImage(
            timestamp=time, frame_id=self._stream, data=scene.picture.jpeg, format="jpeg"
        )
        self._pictures.log(picture, log_time=captured_ns)
        annotations = ImageAnnotations(timestamp=time, points=points, texts=texts)
        self._objects.log(annotations, log_time=captured_ns)

    def close(self) -> None:
        """Close the server."""
        self._server.stop()


def _outlines(scene: Scene, item: ObjectMessage, time: Any) -> list[Any]:
    """Closed lines around the parts of a mask; holes are lost."""
    x0, y0, x1, y1 = scene.box(item)
    box = (math.floor(x0), math.floor(y0), math.ceil(x1), math.ceil(y1))
    colour = OBJECT_COLOURS[(item.id - 1) % len(OBJECT_COLOURS)]
    return [
        PointsAnnotation(
            timestamp=time,
            type=PointsAnnotationType.LineLoop,
            points=[Point2(x=float(x), y=float(y)) for x, y in part.outer],
            outline_color=_color(colour, _DRAWN),
            fill_color=_color(colour, _FILLED),
            thickness=2.0,
        )
        for part in outlines(scene.mask(item.id), box, _TOLERANCE_PX)
    ]


def _name(scene: Scene, item: ObjectMessage, time: Any) -> Any:
    x0, y0, _, _ = scene.box(item)
    colour = OBJECT_COLOURS[(item.id - 1) % len(OBJECT_COLOURS)]
    return TextAnnotation(
        timestamp=time,
        position=Point2(x=x0, y=y0),
        text=title(item),
        font_size=14.0,
        text_color=_color(colour, _DRAWN),
        background_color=_color((0, 0, 0), _DRAWN),
    )


def _color(rgb: tuple[int, int, int], opacity: float) -> Any:
    red, green, blue = (part / 255 for part in rgb)
    return Color(r=red, g=green, b=blue, a=opacity)
