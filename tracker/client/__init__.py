"""Clients of the daemon: prompts in, masks out."""

from tracker.client.asynchronous import AsyncClient, AsyncSubscription
from tracker.client.client import Client, Subscription
from tracker.client.errors import BadMessage, DaemonError, DaemonUnreachable
from tracker.client.fleet import FleetClient, FleetSubscription
from tracker.client.received import Event, Picture, Result

__all__ = [
    "AsyncClient",
    "AsyncSubscription",
    "BadMessage",
    "Client",
    "DaemonError",
    "DaemonUnreachable",
    "Event",
    "FleetClient",
    "FleetSubscription",
    "Picture",
    "Result",
    "Subscription",
]
