"""Policy of the sources that clients may name, as the configuration has it."""

from collections.abc import Callable, Collection

from streams.access.files import FileAccess
from streams.access.hosts import ANY_HOST, HostAccess, HostClass, HostRules
from streams.access.policy import SourcePolicy
from tracker.daemon.config.schema import SecurityConfig
from tracker.daemon.net.endpoint import parse_bind
from tracker.errors import UsageError

_CAMERAS_ELSEWHERE = HostRules(frozenset({HostClass.PUBLIC, HostClass.PRIVATE}))


def source_policy(
    config: SecurityConfig, own_ports: Callable[[], Collection[int]] = lambda: ()
) -> SourcePolicy:
    """The policy for streams that clients add.

    Where only the daemon's own user and root are let in, a client has the daemon's rights anyway;
    else it would get at files and services that are not its own.

    Args:
        config: Who is let in, and what is allowed.
        own_ports: The ports that the daemon listens on.

    Raises:
        UsageError: A host is none.
    """
    roots, rules = config.file_roots, ANY_HOST if are_own(config) else _CAMERAS_ELSEWHERE
    if roots is None and not are_own(config):
        roots = ()
    if config.source_hosts is not None:
        try:
            rules = HostRules.parse(config.source_hosts)
        except ValueError as error:
            raise UsageError(f"security.source_hosts: {error}", "such as 10.0.0.0/8") from error
    return SourcePolicy(FileAccess(roots), HostAccess(rules, own_ports))


def are_own(config: SecurityConfig) -> bool:
    """True if clients have the daemon's rights anyway."""
    return config.server_key is None and not config.allow_users


def describe_sources(config: SecurityConfig) -> str:
    """The policy for people."""
    files, hosts = "any file", "any host"
    if config.file_roots is not None:
        files = ", ".join(f"files in {root}" for root in config.file_roots) or "no file"
    elif not are_own(config):
        files = "no file"
    if config.source_hosts is not None:
        hosts = f"hosts: {', '.join(config.source_hosts) or 'none'}"
    elif not are_own(config):
        hosts = "hosts: public, private"
    return f"{files}; {hosts}"


def ports_of(*endpoints: str | None) -> set[int]:
    """The TCP ports of ZeroMQ endpoints."""
    binds = (parse_bind(endpoint) for endpoint in endpoints if endpoint)
    return {bind.port for bind in binds if bind.port is not None}
