"""Streams whose one worker is in the process of the test."""

from collections.abc import Callable
from typing import Any

from streams.access.policy import SourcePolicy
from tracker.daemon.config.schema import LimitsConfig, RetryConfig
from tracker.daemon.sources.supervisor import Supervisor
from tracker.daemon.streams import Streams
from tracker.daemon.workers.local import LocalWorker
from tracker.daemon.workers.pool import WorkerPool


def local_streams(
    scheduler: Any,
    publisher: Any,
    retry: RetryConfig | None = None,
    limits: LimitsConfig | None = None,
    *,
    policy: SourcePolicy | None = None,
    supervise: Callable[..., Supervisor] = Supervisor,
    close_timeout_s: float = 10.0,
    **given: Any,
) -> tuple[Streams, LocalWorker]:
    """The registry and its worker, around a scheduler and a publisher, which may be fakes."""
    limits = limits or LimitsConfig()
    worker = LocalWorker(
        scheduler,
        retry or RetryConfig(),
        limits,
        on_event=publisher.event,
        policy=policy,
        supervise=supervise,
        close_timeout_s=close_timeout_s,
    )
    return Streams(WorkerPool([worker]), publisher, limits, policy=policy, **given), worker
