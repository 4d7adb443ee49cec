"""Notifications to the service manager (sd_notify), where it asked for them."""

import os
import socket


def notify(*lines: str) -> bool:
    """Send lines such as "READY=1" or "STATUS=…" to the service manager; False if there is none."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):  # Linux's abstract names begin with a null byte
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(1.0)
        try:
            sender.sendto("\n".join(lines).encode(), address)
        except OSError:
            return False  # the service manager may be restarting; nothing here depends on it
    return True
