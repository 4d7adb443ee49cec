"""Dataclass fields that carry the name and help text of their Prometheus metric.

A counter is declared once, with its metric, in `status`, and counted where it happens.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

_KEY = "metric"


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """A Prometheus metric of one number, or of one number for each value of a label.

    Attributes:
        kind: Counters only grow.
        name: Without the prefix of the part, nor the `_total` of counters.
        help: One sentence.
        label: Name of the label whose values are the keys of the field; None for a plain number.
    """

    kind: Literal["counter", "gauge"]
    name: str
    help: str
    label: str | None = None


def counter(name: str, help: str) -> Any:
    """A field that only grows, from 0 on."""
    return field(default=0, metadata={_KEY: MetricSpec("counter", name, help)})


def gauge(name: str, help: str, *, default: float | None = 0) -> Any:
    """A field with a number that may fall, and is absent from a scrape while it is None."""
    return field(default=default, metadata={_KEY: MetricSpec("gauge", name, help)})


def counts_by(label: str, name: str, help: str) -> Mapping[str, MetricSpec]:
    """Metadata of a field with a counter for each value of a label."""
    return {_KEY: MetricSpec("counter", name, help, label)}


def metrics_of(status: Any) -> Iterator[tuple[MetricSpec, Any]]:
    """The metrics that the fields of a status declare, with their values; or of a type, None."""
    for one in fields(status):
        if _KEY in one.metadata:
            value = None if isinstance(status, type) else getattr(status, one.name)
            yield one.metadata[_KEY], value
