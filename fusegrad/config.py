"""The environment switches of fusegrad, read once and checked.

Knows nothing of what they switch: other files ask `current()`.

========================  ========================================================================
``FUSEGRAD_DUMP``         a directory that receives the text of every stage
``FUSEGRAD_CHECK``        ``1``: run every verifier between the stages, ``0``: not (the default)
``FUSEGRAD_EXPLAIN``      what to report while running: ``cache``, ``fusion``, separated by commas
``FUSEGRAD_TARGET``       the instruction set to compile for in place of this machine's own; that
                          of a GPU (``sm_90``) is for explain, and calls run as without it
``FUSEGRAD_CACHE_DIR``    the directory of compiled programs, or ``off`` for none; default
                          ``~/.cache/fusegrad``
``FUSEGRAD_NUM_THREADS``  the number of threads; default what the process may use
``FUSEGRAD_CUDA_EMIT``    what makes the code of a GPU: ``numba`` (kernels of numba.cuda) or
                          ``nvptx`` (LLVM alone); default ``numba`` where the package numba-cuda
                          is, else ``nvptx``
========================  ========================================================================
"""

from __future__ import annotations

import difflib
import functools
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

from .errors import ConfigError, FusegradWarning

__all__ = ["Config", "available_cpus", "current"]

_PREFIX = "FUSEGRAD_"
_NAMES = ("DUMP", "CHECK", "EXPLAIN", "TARGET", "CACHE_DIR", "NUM_THREADS", "CUDA_EMIT")
_TOPICS = frozenset({"cache", "fusion"})
_MAX_THREADS = 1_024


@final
@dataclass(frozen=True, slots=True)
class Config:
    """The switches, parsed.

    Attributes
    ----------
    dump : Path or None
        Where the text of every stage goes.
    check : bool
        Whether every verifier runs between the stages.
    explain : frozenset of str
        What is reported while running: ``"cache"``, ``"fusion"``.
    target : str or None
        The instruction set to compile for; None for this machine's own.
    cache_dir : Path or None
        The directory of compiled programs; None if none are kept.
    num_threads : int
        How many threads a kernel may use.
    cuda_emit : str or None
        What makes the code of a GPU, ``"numba"`` or ``"nvptx"``; None for what is there.

    Examples
    --------
    >>> Config.from_environ({"FUSEGRAD_NUM_THREADS": "2"}).num_threads
    2
    """

    dump: Path | None
    check: bool
    explain: frozenset[str]
    target: str | None
    cache_dir: Path | None
    num_threads: int
    cuda_emit: str | None

    @staticmethod
    def from_environ(environ: Mapping[str, str]) -> Config:
        """Parse the switches of an environment; empty values count as unset.

        Parameters
        ----------
        environ : mapping of str to str

        Returns
        -------
        Config

        Raises
        ------
        ConfigError
            If a switch has a value that it does not accept.
        """
        _warn_of_unknown(environ)
        values = {name: environ.get(_PREFIX + name, "").strip() for name in _NAMES}
        dump = values["DUMP"]
        return Config(
            dump=_directory("DUMP", dump) if dump else None,
            check=_choice("CHECK", values["CHECK"] or "0", ("0", "1")) == "1",
            explain=_topics(values["EXPLAIN"]),
            target=values["TARGET"] or None,
            cache_dir=_cache_dir(values["CACHE_DIR"], environ),
            num_threads=_threads(values["NUM_THREADS"]),
            cuda_emit=_choice("CUDA_EMIT", values["CUDA_EMIT"], ("", "numba", "nvptx")) or None,
        )


@functools.cache
def current() -> Config:
    """The switches of this process, as they were when somebody asked first.

    Returns
    -------
    Config

    Examples
    --------
    >>> current().num_threads >= 1
    True
    """
    return Config.from_environ(os.environ)


# --- one switch each ------------------------------------------------------------------------------


def _error(name: str, value: str, accepts: str) -> ConfigError:
    return ConfigError(
        f"{_PREFIX}{name} is {value!r}",
        where=None,
        remedy=f"set it to {accepts}, or unset it",
    )


def _warn_of_unknown(environ: Mapping[str, str]) -> None:
    known = [_PREFIX + name for name in _NAMES]
    for name in sorted(environ):
        if name.startswith(_PREFIX) and name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
            warnings.warn(
                f"the environment variable {name} does nothing; {hint}",
                FusegradWarning,
                stacklevel=3,
            )


def _choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise _error(name, value, " or ".join(filter(None, choices)))
    return value


def _topics(value: str) -> frozenset[str]:
    topics = frozenset(topic.strip() for topic in value.split(",") if topic.strip())
    if not topics <= _TOPICS:
        raise _error("EXPLAIN", value, f"{' or '.join(sorted(_TOPICS))}, or both with a comma")
    return topics


def _directory(name: str, value: str) -> Path:
    path = Path(value).expanduser()
    if path.exists() and not path.is_dir():
        raise _error(name, value, "a directory (this is a file)")
    return path.absolute()


def _cache_dir(value: str, environ: Mapping[str, str]) -> Path | None:
    if value == "off":
        return None
    if value:
        return _directory("CACHE_DIR", value)
    base = environ.get("XDG_CACHE_HOME", "")
    # The XDG specification has relative paths ignored.
    root = Path(base) if os.path.isabs(base) else Path(os.path.expanduser("~")) / ".cache"
    return (root / "fusegrad").absolute()


def _threads(value: str) -> int:
    if not value:
        return available_cpus()
    # int() would also take "1_0" and digits of other scripts.
    count = int(value) if value.isascii() and value.isdigit() else 0
    if not 1 <= count <= _MAX_THREADS:
        raise _error("NUM_THREADS", value, f"a number from 1 to {_MAX_THREADS}")
    return count


# --- the processors that the process may use ------------------------------------------------------


def available_cpus(root: Path = Path("/")) -> int:
    """How many threads the process may keep busy: affinity mask and cgroup quota.

    Parameters
    ----------
    root : Path
        The root of the file system in which ``proc`` and ``sys`` are looked up.

    Returns
    -------
    int
        At least 1. A quota of 2.5 processors counts as 2: a third thread would be throttled.

    Examples
    --------
    >>> 1 <= available_cpus() <= (os.cpu_count() or 1)
    True
    """
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    quotas = [quota for quota in map(_quota, _cgroup_directories(root)) if quota is not None]
    return min([count, _MAX_THREADS, *(max(1, int(quota)) for quota in quotas)])


def _cgroup_directories(root: Path) -> list[Path]:
    """The directories, of cgroup version 1 and 2, whose limits apply to this process."""
    mount = root / "sys" / "fs" / "cgroup"
    found: list[Path] = []
    for line in _read(root / "proc" / "self" / "cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if not controllers:
            bases = [mount, mount / "unified"]
        elif "cpu" in controllers.split(","):
            bases = [mount / "cpu", mount / controllers]
        else:
            continue
        relative = Path(group.lstrip("/"))
        # Every group above limits too. Inside a container the path may name what only the host
        # sees; then the mount itself is the group.
        for base in bases:
            found += [base / part for part in (relative, *relative.parents)]
    return found


def _quota(directory: Path) -> float | None:
    """The number of processors that one cgroup grants, None if it does not say."""
    words = _read(directory / "cpu.max").split()
    if not words:
        words = [
            _read(directory / "cpu.cfs_quota_us").strip(),
            _read(directory / "cpu.cfs_period_us").strip(),
        ]
    try:
        quota, period = (int(word) for word in words)
    except ValueError:
        return None
    return quota / period if quota > 0 and period > 0 else None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
