"""Worker process: a local worker behind a channel to the daemon.

    python -m tracker.daemon.workers.main FD        FD is its end of a pair of sockets

It ends when the channel does, so it never outlives the daemon. Signals are the daemon's affair.
"""

import faulthandler
import os
import signal
import socket
import sys

from tracker.process import forbid_core_dumps, leave_stacks, prepare_process


def main(descriptor: int) -> None:
    """Serve the daemon until it hangs up; does not return."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    prepare_process()
    leave_stacks()
    if faulthandler.is_enabled():
        faulthandler.register(signal.SIGUSR1, all_threads=True)
    forbid_core_dumps()
    from tracker.daemon.telemetry.log_writer import background_output
    from tracker.daemon.workers.channel import Channel
    from tracker.daemon.workers.remote import serve

    with background_output():
        serve(Channel(socket.socket(fileno=descriptor)))
    os._exit(0)  # what hangs in a decoder would be waited for


if __name__ == "__main__":
    main(int(sys.argv[1]))
