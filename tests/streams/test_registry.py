"""Registry of sources: a kind of address is one row, which all that opens sources then knows."""

import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Self

import numpy as np
import pytest

from streams import Frame, SourceUsageError, open_source
from streams.access.policy import SourcePolicy
from streams.address import kind_of, local_path, parse_address
from streams.info import SourceInfo, SourceStats
from streams.options import SourceOptions
from streams.sources import registry
from streams.sources.base import (
    Address,
    OpenOptions,
    Scheme,
    SourceKind,
    check_options,
    has_prefix,
)
from tests.support.moving_square import HEIGHT, WIDTH, open_fake_session, picture
from tracker.cli.main import main


class Squares:
    """The moving square, drawn: `squares:N` has N frames."""

    def __init__(self, address: Address, asked: OpenOptions) -> None:
        self._count, self._stream = int(address.location), asked.stream
        self.info = SourceInfo(address.shown, WIDTH, HEIGHT, Fraction(25), self._count, False)
        self.stats = SourceStats()

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self._count):
            self.stats.frames += 1
            yield Frame(self._stream, index, index, Fraction(1, 25), 0, picture(index))

    def close(self) -> None:
        """Nothing is open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()


def parse_squares(url: str, settings: SourceOptions, platform: str) -> Address:
    check_options(settings, "squares:", frozenset())
    return Address(SourceKind.PATTERN, url, url.removeprefix("squares:"))


SQUARES = Scheme(
    SourceKind.PATTERN,
    "squares:N",
    lambda url: has_prefix(url, "squares:"),
    parse_squares,
    Squares,
)


@pytest.fixture
def squares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "SCHEMES", (SQUARES, *registry.SCHEMES))


def test_a_row_is_all_that_a_kind_of_source_needs(squares, tmp_path: Path, monkeypatch, capsys):
    assert kind_of("squares:3") is SourceKind.PATTERN
    assert local_path("squares:3") is None
    with open_source("squares:3", stream="a") as source:
        images = [frame.image for frame in source]
    assert np.array_equal(images[2], picture(2))
    with pytest.raises(SourceUsageError, match="live is not for squares:; it takes none"):
        parse_address("squares:3", SourceOptions(live=True))
    with pytest.raises(SourceUsageError, match=r"give squares:N, a file, an image folder, file:"):
        parse_address("")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tracker.annotate.run.open_session", open_fake_session)
    argv = ["track", "squares:4", "--box", "1:4,10,24,30", "--coco", "out.json", "--quiet"]
    assert main([*argv, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["frames"] == 4


def test_a_new_kind_of_source_is_asked_about_by_the_policy(squares):
    asked: list[Address] = []

    class Judge(SourcePolicy):
        def check(self, address: Address) -> None:
            asked.append(address)

    policy = Judge(files=None, hosts=None)  # type: ignore[arg-type]
    open_source("squares:1", policy=policy).close()
    assert [address.location for address in asked] == ["1"]


@pytest.mark.parametrize(
    ("url", "example"),
    [
        ("file:///a.mp4", "a file, an image folder, file:"),
        ("a.mp4", ""),
        ("RTSP://h/x", "rtsp(s)://"),
        ("rtmps://h/x", ""),
        ("udp://:5000", "udp://"),
        ("gopher://h", ""),
        ("webcam://0", ""),
        ("/dev/video3", "webcam:0"),
        ("LAVFI:testsrc2", "lavfi:PATTERN"),
    ],
)
def test_the_first_row_that_claims_an_address_has_it(url: str, example: str):
    assert registry.find_scheme(url).example == example


def test_the_kinds_in_errors_are_those_of_the_rows():
    kinds = (
        "a file, an image folder, file:, rtsp(s)://, http(s)://, rtmp(s)://, udp://, rtp://, "
        "tcp://, webcam:0 or lavfi:PATTERN"
    )
    assert registry.examples() == kinds
    for url in ("gopher://h", "webcam://0"):
        with pytest.raises(SourceUsageError, match="unknown kind of source") as refused:
            parse_address(url)
        assert refused.value.hint == f"give {kinds}"
