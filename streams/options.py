"""Options of a source: how a camera or a server is spoken to."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from streams.errors import SourceUsageError

Text = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[\x20-\x7e]+$")]
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,32}$")]


class SourceOptions(BaseModel):
    """Options of a source; which of them it takes depends on its kind.

    Attributes:
        rtsp_transport: How an RTSP camera sends: "auto" asks for TCP and, where the camera refuses
            it or sends nothing over it, for UDP.
        live: Whether frames come at the pace of the world (true) or wait to be read (false);
            found out where left out. Network sources only.
        poll_s: Seconds from one request for a picture to the next, for an http(s) address of a
            JPEG; makes it a live source.
        tls_verify: Whether the certificate of an https, rtsps or rtmps server must be trusted.
        user_agent: How trackd names itself to an http(s) or rtsp(s) server.
        analyzeduration: Longest stretch, in microseconds, that is read to find out what a source
            holds.
        probesize: Most bytes that are read to find that out.
        video_size: Size that a webcam is asked for, such as 1280x720.
        framerate: Frames a second that a webcam is asked for.
        pixel_format: FFmpeg's name of the raw pictures that a webcam is asked for.
        input_format: FFmpeg's name of the coding that a webcam is asked for, such as mjpeg.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rtsp_transport: Literal["auto", "tcp", "udp"] | None = None
    live: bool | None = None
    poll_s: Annotated[float, Field(ge=0.02, le=3600)] | None = None
    tls_verify: bool | None = None
    user_agent: Text | None = None
    analyzeduration: Annotated[int, Field(ge=0, le=60_000_000)] | None = None
    probesize: Annotated[int, Field(ge=32, le=100_000_000)] | None = None
    video_size: Annotated[str, Field(pattern=r"^[1-9]\d{0,4}x[1-9]\d{0,4}$")] | None = None
    framerate: Annotated[float, Field(gt=0, le=1000)] | None = None
    pixel_format: Word | None = None
    input_format: Word | None = None

    @model_validator(mode="before")
    @classmethod
    def _knows_all(cls, values: Any) -> Any:
        for name in values if isinstance(values, Mapping) else ():
            if name not in cls.model_fields:
                shown = f" {name}" if re.fullmatch(r"\w{1,40}", str(name)) else ""
                raise ValueError(f"unknown option{shown}; there are {', '.join(cls.model_fields)}")
        return values

    @classmethod
    def from_texts(cls, pairs: Mapping[str, str]) -> Self:
        """Read options as a person types them.

        Raises:
            SourceUsageError: A name or a value that there is not.
        """
        try:
            return cls.model_validate_strings(dict(pairs))
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = "".join(f"{part}: " for part in first["loc"])
            what = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
            raise SourceUsageError(f"source options: {where}{what}") from None

    @property
    def given(self) -> Mapping[str, Any]:
        """Those that were given, by name."""
        return self.model_dump(exclude_none=True)
