"""Test patterns (`lavfi:GRAPH`): the filters that draw and change pictures, and touch nothing else.

FFmpeg has filters that open files and addresses, and others that write files; a client that may
add a source must not get at those.
"""

import re

import av.filter

from streams.errors import SourceUsageError
from streams.options import SourceOptions
from streams.redaction import redact
from streams.sources.base import (
    Address,
    SourceKind,
    check_controls,
    check_options,
    has_prefix,
)

_PREFIX = "lavfi:"

_SOURCES = (
    "allrgb allyuv color colorchart colorspectrum gradients haldclutsrc mandelbrot nullsrc "
    "pal100bars pal75bars perlin rgbtestsrc sierpinski smptebars smptehdbars testsrc testsrc2 "
    "yuvtestsrc zoneplate anoisesrc anullsrc sine"
)
_CHANGES = (
    "avgblur boxblur colorbalance colorchannelmixer crop drawbox drawgrid edgedetect eq fade fps "
    "format framestep gblur geq hflip hstack hue loop lutrgb lutyuv negate noise null overlay pad "
    "realtime rotate scale select setdar setfield setparams setpts setrange setsar settb shear "
    "split tile trim transpose vflip vstack xstack zoompan interlace tinterlace fieldorder"
)
_ALLOWED = frozenset(f"{_SOURCES} {_CHANGES}".split())


def is_pattern(url: str) -> bool:
    """True where it names a test pattern."""
    return has_prefix(url, _PREFIX)


def parse_pattern(url: str, settings: SourceOptions, platform: str) -> Address:
    """The address of a test pattern.

    Raises:
        SourceUsageError: A filter may do more than draw, or options are given.
    """
    check_options(settings, _PREFIX, frozenset())
    graph = url[len(_PREFIX) :]
    check_graph(graph)
    check_controls(graph, _PREFIX)
    return Address(SourceKind.PATTERN, redact(f"{_PREFIX}{graph}"), graph, "lavfi")


def check_graph(graph: str) -> None:
    """Refuse a graph with a filter that may do more than draw.

    Raises:
        SourceUsageError: It is empty, or has one.
    """
    if not graph:
        raise SourceUsageError("lavfi: names no pattern", "for example lavfi:testsrc2")
    # FFmpeg takes a name with quotes and backslashes in it, and labels with anything in them: so
    # every word that may be a name is looked at, and quotes protect none.
    for word in re.split(r"[,;=\[\]]", re.sub(r"['\\]", "", graph)):
        name = word.partition("@")[0].strip()
        if name in av.filter.filters_available and name not in _ALLOWED:
            raise SourceUsageError(
                f"lavfi: takes no filter {name}", "it is for test patterns, such as testsrc2"
            )
