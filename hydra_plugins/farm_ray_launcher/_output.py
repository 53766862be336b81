"""What a job prints: written to a file by the job, followed by the launcher.

What is printed a line at a time gets the time of day in front; blocks, such as tables and
tracebacks, stay as they are. So the launcher can tell the progress of many jobs from their tables.
"""

import io
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

_TIME_OF_DAY = "%H:%M:%S "
_TIMED = re.compile(r"\d\d:\d\d:\d\d (.*\S)")


def redirect_output(path: Path) -> None:
    """Write all that this process prints from now on to a file."""
    file = path.open("a", buffering=1)
    for descriptor in (1, 2):  # of those too who print past Python
        os.dup2(file.fileno(), descriptor)
    sys.stdout = sys.stderr = TimedLines(file)


class TimedLines(io.TextIOBase):
    """A stream in front of a file, which puts the time before single lines."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._begun = ""

    def write(self, text: str) -> int:
        """Write once a line is whole."""
        self._begun += text
        if self._begun.endswith("\n"):
            block, self._begun = self._begun, ""
            single = block.count("\n") == 1 and not block.isspace()
            self._file.write(time.strftime(_TIME_OF_DAY) + block if single else block)
        return len(text)


class Followed:
    """The file of a job's output, while it grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._position = 0

    def new_lines(self) -> Iterator[str]:
        """What was printed a line at a time since the last call, without the times."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self._position)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._position += len(whole)
        for line in whole.decode(errors="replace").split("\n"):
            if timed := _TIMED.fullmatch(line.rstrip()):
                yield timed[1]
