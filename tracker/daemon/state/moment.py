"""Moment by all clocks that a restart may be measured with."""

import time
from pathlib import Path
from typing import Self

from tracker.protocol.fields import Message

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Moment(Message):
    """A moment by the wall clock, which may jump, and by one that counts since the boot.

    Attributes:
        wall_s: Seconds since 1970.
        boot_id: Names the boot; "" where the system does not.
        boot_s: Seconds since it, those of sleep included.
    """

    wall_s: float
    boot_id: str = ""
    boot_s: float = 0.0

    @classmethod
    def now(cls) -> Self:
        """This one."""
        try:
            boot_id = _BOOT_ID.read_text().strip()
            boot_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        except (OSError, AttributeError):  # no Linux
            return cls(wall_s=time.time())
        return cls(wall_s=time.time(), boot_id=boot_id, boot_s=boot_s)

    def since_s(self, earlier: "Moment") -> float:
        """Seconds from an earlier moment to this one.

        Since the same boot no clock jumps. Over a reboot the wall clock counts; what it calls the
        future has just been: there is no clock on the board, and its time was not yet asked for.
        """
        if self.boot_id and self.boot_id == earlier.boot_id:
            return max(0.0, self.boot_s - earlier.boot_s)
        return max(0.0, self.wall_s - earlier.wall_s)
