"""Start of the workers of a daemon, in its own process or in others."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import torch

from tracker.daemon.config.schema import DaemonConfig
from tracker.daemon.finding.service import Finding
from tracker.daemon.publish.publisher import Publisher
from tracker.daemon.record.recorders import Recorders, recorded_model
from tracker.daemon.record.snapshots import OnNote
from tracker.daemon.sources.client_sources import source_policy
from tracker.daemon.sources.pixel_budget import PixelBudget
from tracker.daemon.tracking.scheduler import Scheduler
from tracker.daemon.workers.local import LocalWorker
from tracker.daemon.workers.model_info import ModelInfo
from tracker.daemon.workers.nursery import Nursery
from tracker.daemon.workers.plan import WorkerPlan, plan_workers
from tracker.daemon.workers.pool import WorkerPool
from tracker.daemon.workers.process import ProcessWorker
from tracker.daemon.workers.warm import warm_model
from tracker.process import usable_processors
from tracker.processors import ThreadGovernor

MAX_SNAPSHOTS_BYTES = 2**30  # of all streams of all worker processes
_LOG = logging.getLogger("trackd.server")


def plan_for(config: DaemonConfig) -> WorkerPlan:
    """The workers that a configuration means on this machine."""
    return plan_workers(
        config.workers.count,
        device=config.model.device,
        processors=usable_processors(),
        gpus=torch.cuda.device_count(),
        most_streams=config.limits.streams,
    )


def start_workers(
    config: DaemonConfig,
    publisher: Publisher,
    undo: ExitStack,
    *,
    epoch: str,
    own_ports: Callable[[], set[int]],
    on_note: OnNote,
) -> tuple[ModelInfo, WorkerPool]:
    """The workers of a daemon, and the model that all of them have.

    Args:
        config: Of the daemon.
        publisher: Takes what they track, and what happens to their streams.
        undo: Stops them.
        epoch: Of frame numbers.
        own_ports: Those that the daemon listens on.
        on_note: Takes notes for recordings.

    Raises:
        TrackdError: The model cannot be loaded.
    """
    plan = plan_for(config)
    _LOG.info("workers: %s", plan.why)
    if not plan.processes:
        return _local(config, plan, publisher, undo, own_ports=own_ports, on_note=on_note)
    return _processes(
        config, plan, publisher, undo, epoch=epoch, own_ports=own_ports, on_note=on_note
    )


def _local(
    config: DaemonConfig,
    plan: WorkerPlan,
    publisher: Publisher,
    undo: ExitStack,
    *,
    own_ports: Callable[[], set[int]],
    on_note: OnNote,
) -> tuple[ModelInfo, WorkerPool]:
    # In a thread that ends: OpenMP keeps workers for each thread that ever computed, and lets
    # all of them wait less well once there are more than processors.
    with ThreadPoolExecutor(1, thread_name_prefix="loader") as loader:
        model, policy = loader.submit(warm_model, config.model, config.limits).result()
    governor, finding = ThreadGovernor(), Finding(config.model)
    recorders = Recorders(
        on_note=on_note, on_event=publisher.event, model=recorded_model(model, config)
    )
    scheduler = Scheduler(
        model,
        policy,
        commands_queued=config.limits.commands_queued,
        on_tracked=recorders.before(finding.after(publisher.tracked)),
        on_event=publisher.event,
        between_frames=recorders.between(governor.adjust),
    )
    scheduler.start()
    worker = LocalWorker(
        scheduler,
        config.retry,
        config.limits,
        on_event=publisher.event,
        finding=finding,
        policy=source_policy(config.security, own_ports),
        threads=lambda: governor.threads,
        recorders=recorders,
    )
    pool = WorkerPool([worker], why=plan.why)
    undo.callback(pool.stop, 1.0)
    return ModelInfo.of(model), pool


def _processes(
    config: DaemonConfig,
    plan: WorkerPlan,
    publisher: Publisher,
    undo: ExitStack,
    *,
    epoch: str,
    own_ports: Callable[[], set[int]],
    on_note: OnNote,
) -> tuple[ModelInfo, WorkerPool]:
    pixels, nursery = PixelBudget(config.limits), Nursery()
    undo.callback(nursery.close)

    def start(index: int, running: int) -> ProcessWorker:
        device = plan.devices[index % len(plan.devices)]
        model = config.model.model_copy(update={"device": device})
        worker = ProcessWorker(
            str(index),
            config.model_copy(update={"model": model}),
            epoch=epoch,
            threads=plan.threads(running),
            on_tracked=publisher.tracked,
            on_event=publisher.event,
            pixels=pixels,
            nursery=nursery,
            snapshots_bytes=MAX_SNAPSHOTS_BYTES // plan.processes,
            own_ports=own_ports,
            on_note=on_note,
        )
        worker.start()
        return worker

    at_once = 1 if plan.grows else plan.processes
    workers = [start(index, at_once) for index in range(at_once)]
    pool = WorkerPool(workers, most=plan.processes, start=start, threads=plan.threads, why=plan.why)
    undo.callback(pool.stop, 1.0)
    models = [worker.model() for worker in workers]
    return models[0], pool
