"""Work that a thread does meanwhile, in pieces: code that was made fast is made again, well.

Knows jobs as iterators, of which each step is a piece, and that they compile; knows no code.

A fork waits for the end of the piece in progress, and so does the end of the process: the code
generator must be in the middle of nothing then. What is left of the jobs is dropped.
"""

from __future__ import annotations

import atexit
import os
import threading
import warnings
from collections import deque
from collections.abc import Iterator
from typing import final

from ..errors import FusegradWarning
from . import footprint
from .locks import recursive_lock

__all__ = ["Job", "later"]


@final
class Job:
    """Pieces of work, to be done one after the other by whoever has the time.

    Parameters
    ----------
    pieces : iterator
        Each step does one piece. What it raises ends the job.
    """

    def __init__(self, pieces: Iterator[object]) -> None:
        self._pieces = pieces
        self.done = False

    def piece(self) -> None:
        """Do the next piece, if there is one."""
        with _worker.lock:
            if self.done or _worker.over:
                return
            try:
                next(self._pieces)
            except StopIteration:
                self.done = True
            except BaseException:
                self.done = True
                raise

    def finish(self) -> None:
        """Do what is left, here and now."""
        while not (self.done or _worker.over):
            self.piece()


@final
class _Worker:
    """The thread, while there are jobs; and the lock that is held during a piece."""

    def __init__(self) -> None:
        self.lock = recursive_lock()
        self.over = False
        self._state = recursive_lock()
        self.forget()

    def forget(self) -> None:
        """No job and no thread: also in a forked child."""
        self._jobs: deque[Job] = deque()
        self._thread: threading.Thread | None = None

    def add(self, job: Job) -> None:
        """One more job, behind the others."""
        with self._state:
            if self.over:
                return
            self._jobs.append(job)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="fusegrad.improvement", daemon=True
                )
                self._thread.start()

    def _run(self) -> None:
        while True:
            with self._state:
                if not self._jobs or self.over:
                    self._thread = None
                    return
                job = self._jobs[0]
            try:
                job.piece()
            except Exception as error:
                warnings.warn(f"code stays as it is: {error}", FusegradWarning, stacklevel=2)
            if job.done:
                with self._state:
                    self._jobs.popleft()
            # A little longer each time, and less memory beside that of the steps that run.
            footprint.release()

    def end(self) -> None:
        """No piece begins any more, and none is in progress."""
        self.over = True
        with self.lock:
            pass


_worker = _Worker()
atexit.register(_worker.end)


def later(job: Job) -> None:
    """Have a thread do a job, after those that it was given before.

    Examples
    --------
    >>> found = []
    >>> job = Job(found.append(n) for n in range(3))
    >>> later(job)
    >>> job.finish()
    >>> found
    [0, 1, 2]
    """
    _worker.add(job)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_worker.lock.acquire,
        after_in_parent=_worker.lock.release,
        after_in_child=_worker.forget,
    )
