"""Main function of a worker process: a local worker behind a channel to the daemon.

The process ends when the channel does, so it never outlives the daemon. Signals are the daemon's
affair: a Ctrl-C in the terminal, or the service manager, means all processes, and the daemon then
lets its workers end in order.
"""

import faulthandler
import os
import signal
import socket

from tracker.daemon.telemetry.log_writer import background_output
from tracker.daemon.workers.channel import Channel
from tracker.daemon.workers.remote import serve
from tracker.process import forbid_core_dumps, leave_stacks, prepare_process


def run_worker(sock: socket.socket) -> None:
    """Serve the daemon at the other end of `sock` until it hangs up; does not return."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    prepare_process()
    leave_stacks()
    if faulthandler.is_enabled():
        faulthandler.register(signal.SIGUSR1, all_threads=True)
    forbid_core_dumps()
    with background_output():
        serve(Channel(sock))
    os._exit(0)  # what hangs in a decoder would be waited for
