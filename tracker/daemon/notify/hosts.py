"""Hosts that webhooks may be of."""

from collections.abc import Callable, Collection

from streams.access.hosts import HostAccess, HostClass, HostRules


def webhook_hosts(allow_private: bool, own_ports: Callable[[], Collection[int]]) -> HostAccess:
    """The hosts of a webhook; never link-local ones, where clouds give out secrets."""
    near = (HostClass.PRIVATE, HostClass.LOOPBACK) if allow_private else ()
    return HostAccess(HostRules(frozenset({HostClass.PUBLIC, *near})), own_ports)
