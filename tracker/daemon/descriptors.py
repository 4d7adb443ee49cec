"""Limits of files and connections that this process may have open."""

import logging
import sys

_LOG = logging.getLogger("trackd.server")
_MOST = 65_536
_LEAST_CONNECTIONS = 4
_PART_OF_A_SOCKET = 8  # three sockets: more than half is left for sources, state, health


def raise_limit() -> int:
    """Allow this process as many open files as the system lets it; return how many that is."""
    if sys.platform == "win32":
        return _MOST
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        except (OSError, ValueError) as err:
            _LOG.warning("at most %d files can be open at a time: %s", soft, err)
    return _MOST if soft == resource.RLIM_INFINITY else soft


def connections_to_a_socket(wanted: int, limit: int) -> int:
    """Most connections of one ZeroMQ socket, so that descriptors are left for the rest.

    Args:
        wanted: As the configuration has it.
        limit: Open files that this process may have.
    """
    return max(_LEAST_CONNECTIONS, min(wanted, limit // _PART_OF_A_SOCKET))
