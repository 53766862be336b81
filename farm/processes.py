"""Whether a process of this machine still lives, though its number may be another's by now."""

from typing import NamedTuple

import psutil


class ProcessId(NamedTuple):
    """A process, told from later ones of the same number."""

    pid: int
    started: float
    """Seconds since 1970."""

    @staticmethod
    def own() -> "ProcessId":
        """This one's."""
        me = psutil.Process()
        return ProcessId(me.pid, me.create_time())

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        try:
            return bool(abs(psutil.Process(self.pid).create_time() - self.started) < 1)
        except psutil.NoSuchProcess:
            return False
