"""How much memory this process holds, and held at most.

Knows the files of Linux; elsewhere it knows nothing, and says so.
"""

from __future__ import annotations

from pathlib import Path

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")


def resident() -> int | None:
    """Return the bytes that this process has in memory now, None where nobody says."""
    return _field("VmRSS")


def peak() -> int | None:
    """Return the most bytes since the last `forget`, None where nobody says."""
    return _field("VmHWM")


def forget() -> bool:
    """Let the peak begin anew from what is there now; say whether the system can do that."""
    try:
        CLEAR.write_text("5")
    except OSError:
        return False
    return True


class Growth:
    """The peak of memory beyond what was there at the beginning."""

    def __init__(self) -> None:
        self._before = resident() if forget() else None

    def bytes(self) -> int | None:
        """Return what it grew by until now, None where nobody says."""
        now = peak()
        return None if self._before is None or now is None else max(0, now - self._before)


def _field(name: str) -> int | None:
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return None
    found = next((line for line in lines if line.startswith(f"{name}:")), None)
    return int(found.split()[1]) * 1024 if found else None
