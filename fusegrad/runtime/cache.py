"""The cache on disk: headers and blobs under keys made of named parts.

Knows nothing of what the blobs mean: graphs, plans and object code are bytes to it.

An entry is one file, named by the digest of its key::

    magic | MAC of what follows up to the blobs | length of the header | header (JSON) | blobs

The header holds the digests of the key's parts and of the blobs, so the MAC, made with a random
key that only the user can read, vouches for all of it: what the user's own fusegrad did not write
is never used. Files are written aside and renamed, so a reader sees a whole entry or none.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import hmac
import json
import os
import secrets
import stat
import struct
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, final

from .. import config
from ..codegen.records import dataclass
from ..errors import FusegradWarning

__all__ = ["DEFAULT_LIMIT", "DiskCache", "Entry", "Key", "default"]

DEFAULT_LIMIT = 1 << 30
"""The most bytes that a cache keeps on disk, unless told otherwise."""

_MAGIC = b"fusegrad cache 1\n"
_PREFIX = struct.Struct(f"<{len(_MAGIC)}s32sQ")
_SUFFIX = ".entry"
_TEMPORARY = ".writing-"
_KEY_FILE = "authentication-key"
_KEY_BYTES = 32
_MAX_HEADER = 1 << 26
_STALE_SECONDS = 3600.0
_SURVEY_EVERY = 64
_MOST_COMPARED = 256


# --- keys and entries -----------------------------------------------------------------------------


@final
@dataclass(frozen=True)
class Key:
    """What an entry depends on, as named parts.

    Parameters
    ----------
    parts : sequence of (str, bytes)
        Names and contents. The same contents under other names make another key.

    Attributes
    ----------
    digests : tuple of (str, str)
        The names, and the SHA-256 of each content in hexadecimal.
    digest : str
        The SHA-256 over `digests`, in hexadecimal.

    Examples
    --------
    >>> Key([("graph", b"a"), ("options", b"")]) == Key([("graph", b"a"), ("options", b"")])
    True
    >>> Key([("graph", b"ab"), ("options", b"")]) == Key([("graph", b"a"), ("options", b"b")])
    False
    """

    digests: tuple[tuple[str, str], ...]
    digest: str

    def __init__(self, parts: Sequence[tuple[str, bytes]]) -> None:
        digests = tuple((name, hashlib.sha256(content).hexdigest()) for name, content in parts)
        object.__setattr__(self, "digests", digests)
        whole = hashlib.sha256(json.dumps(digests).encode()).hexdigest()
        object.__setattr__(self, "digest", whole)


@final
@dataclass(frozen=True)
class Entry:
    """What was stored under a key.

    Attributes
    ----------
    header : dict
        What JSON can express.
    blobs : dict from str to bytes
        The named contents.
    """

    header: dict[str, Any]
    blobs: dict[str, bytes]


class _Unusable(Exception):
    """The directory, or its key file, is not to be trusted or not to be had."""


class _Broken(Exception):
    """An entry that the user's own fusegrad did not write whole."""


_warned: set[str] = set()


def _warn_once(kind: str, message: str) -> None:
    if kind not in _warned:
        _warned.add(kind)
        warnings.warn(message, FusegradWarning, stacklevel=2)


# --- the directory --------------------------------------------------------------------------------


def _check_owned(status: os.stat_result, what: str) -> None:
    if status.st_uid != os.geteuid():
        raise _Unusable(f"{what} belongs to another user")
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise _Unusable(
            f"{what} is open to other users (its mode is {mode:o}, not {mode & 0o700:o})"
        )


def _read_file(name: str, directory: int) -> tuple[bytes, os.stat_result]:
    """The contents of a regular file of the user's own."""
    # Not blocking: opening a pipe that somebody put there would hang otherwise.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(name, flags, dir_fd=directory)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _Broken("a symbolic link") from error
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _Broken("not a regular file")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(), status
    finally:
        os.close(descriptor)


@contextmanager
def _temporary(directory: int) -> Iterator[tuple[str, int]]:
    """A new private file, by name and descriptor; both are gone afterwards."""
    name = f"{_TEMPORARY}{os.getpid()}-{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(name, flags, 0o600, dir_fd=directory)
    try:
        yield name, descriptor
    finally:
        os.close(descriptor)
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)


def _write(descriptor: int, pieces: Sequence[bytes]) -> None:
    for piece in pieces:
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(descriptor, rest) :]


def _secret(directory: int, create: bool) -> bytes | None:
    """The user's random key; None if there is none and none shall be made."""
    try:
        content, status = _read_file(_KEY_FILE, directory)
    except FileNotFoundError:
        if not create:
            return None
        with _temporary(directory) as (name, descriptor):
            _write(descriptor, [secrets.token_bytes(_KEY_BYTES)])
            os.fsync(descriptor)
            # A link is made whole or not at all, and never replaces the key of another process.
            with suppress(FileExistsError):
                os.link(name, _KEY_FILE, src_dir_fd=directory, dst_dir_fd=directory)
        return _secret(directory, create=False)
    except _Broken as error:
        raise _Unusable(f"its key file is {error}") from error
    _check_owned(status, "its key file")
    if len(content) != _KEY_BYTES:
        raise _Unusable("its key file is damaged")
    return content


# --- the format -----------------------------------------------------------------------------------


def _encode(
    key: Key, header: Mapping[str, Any], blobs: Mapping[str, bytes], secret: bytes
) -> list[bytes]:
    described = {
        "key": key.digest,
        "parts": key.digests,
        "blobs": [
            (name, len(blob), hashlib.sha256(blob).hexdigest()) for name, blob in blobs.items()
        ],
        "header": dict(header),
    }
    text = json.dumps(described, separators=(",", ":")).encode()
    mac = _mac(secret, text)
    return [_PREFIX.pack(_MAGIC, mac, len(text)), text, *blobs.values()]


def _mac(secret: bytes, text: bytes) -> bytes:
    return hmac.digest(secret, _MAGIC + text, "sha256")


def _decode_header(content: bytes, digest: str, secret: bytes) -> tuple[dict[str, Any], int]:
    """The authenticated header, and where the blobs begin."""
    if len(content) < _PREFIX.size:
        raise _Broken("cut short")
    magic, mac, length = _PREFIX.unpack_from(content)
    text = content[_PREFIX.size : _PREFIX.size + length] if length <= _MAX_HEADER else b""
    if magic != _MAGIC or len(text) != length:
        raise _Broken("damaged or cut short")
    if not hmac.compare_digest(mac, _mac(secret, text)):
        raise _Broken("not written with this user's key")
    described: dict[str, Any] = json.loads(text)
    if described["key"] != digest:
        raise _Broken("under a name that is not its own")
    return described, _PREFIX.size + length


def _decode(content: bytes, digest: str, secret: bytes) -> Entry:
    described, start = _decode_header(content, digest, secret)
    blobs = {}
    for name, size, blob_digest in described["blobs"]:
        blob = content[start : start + size]
        if len(blob) != size or hashlib.sha256(blob).hexdigest() != blob_digest:
            raise _Broken("damaged or cut short")
        blobs[name] = blob
        start += size
    if start != len(content):
        raise _Broken("longer than it should be")
    return Entry(described["header"], blobs)


# --- the cache ------------------------------------------------------------------------------------


@final
class DiskCache:
    """Entries in a directory of the user's own, bounded in size.

    Several processes and threads may use one directory. Whatever goes wrong with the directory or
    an entry is a miss: with one warning for each process, never an error.

    Parameters
    ----------
    directory : str
        Where the entries are; it is made when the first one is stored. It must belong to the
        user, with no access for others, and be no symbolic link; otherwise the cache is off.
    limit_bytes : int, optional
        Beyond this size the entries that were not used for longest are deleted.

    Attributes
    ----------
    hits, misses, writes : int
        What this object did.

    Examples
    --------
    >>> import tempfile
    >>> cache = DiskCache(os.path.join(tempfile.mkdtemp(), "cache"))
    >>> key = Key([("source", b"1 + 1"), ("version", b"3")])
    >>> cache.put(key, {"result": 2}, {"code": b"..."})
    >>> cache.get(key)
    Entry(header={'result': 2}, blobs={'code': b'...'})
    >>> other = Key([("source", b"1 + 1"), ("version", b"4")])
    >>> cache.get(other) is None
    True
    >>> cache.explain_miss(other)
    'the nearest entry differs in version (equal: source)'
    """

    def __init__(self, directory: str | os.PathLike[str], limit_bytes: int = DEFAULT_LIMIT) -> None:
        self.directory = os.path.abspath(os.fspath(directory))
        self.limit_bytes = limit_bytes
        self.hits = 0
        self.misses = 0
        self.writes = 0
        # What is believed to be on the disk, until the next survey. Threads may disagree about it:
        # then a survey comes early or late.
        self._total = 0
        self._puts_left = 0

    def __repr__(self) -> str:
        return f"DiskCache({self.directory!r}, {self.limit_bytes})"

    @contextmanager
    def _opened(self, create: bool) -> Iterator[int]:
        """A descriptor of the directory, checked anew: others may have changed it meanwhile."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
        if create:
            os.makedirs(os.path.dirname(self.directory), exist_ok=True)
            with suppress(FileExistsError):
                os.mkdir(self.directory, 0o700)
        try:
            descriptor = os.open(self.directory, flags)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise _Unusable(f"it is not a directory that can be opened ({error})") from error
        try:
            _check_owned(os.fstat(descriptor), "it")
            yield descriptor
        finally:
            os.close(descriptor)

    def get(self, key: Key) -> Entry | None:
        """What is stored under a key.

        Parameters
        ----------
        key : Key
            The key.

        Returns
        -------
        Entry or None
            None if there is nothing, or nothing that can be trusted.
        """
        entry = None
        try:
            with self._opened(create=False) as directory:
                entry = self._read(directory, key)
        except FileNotFoundError:
            pass
        except _Broken as error:
            self._warn_broken(key.digest, error)
        except (_Unusable, OSError) as error:
            self._warn_unusable(error)
        if entry is None:
            self.misses += 1
        else:
            self.hits += 1
        return entry

    def _read(self, directory: int, key: Key) -> Entry | None:
        name = key.digest + _SUFFIX
        content, _ = _read_file(name, directory)
        secret = _secret(directory, create=False)
        if secret is None:
            raise _Broken("not written with this user's key")
        entry = _decode(content, key.digest, secret)
        # The time of last use is what the bound goes by; a read-only disk keeps none.
        with suppress(OSError):
            os.utime(name, dir_fd=directory)
        return entry

    def put(self, key: Key, header: Mapping[str, Any], blobs: Mapping[str, bytes]) -> None:
        """Store something under a key, in place of what was there.

        Parameters
        ----------
        key : Key
            The key.
        header : Mapping
            What JSON can express.
        blobs : Mapping from str to bytes
            Named contents.
        """
        try:
            with self._opened(create=True) as directory:
                secret = _secret(directory, create=True)
                if secret is None:
                    raise _Unusable("its key file vanished")
                pieces = _encode(key, header, blobs, secret)
                size = sum(map(len, pieces))
                if size > self.limit_bytes:
                    return
                with _temporary(directory) as (name, descriptor):
                    _write(descriptor, pieces)
                    target = key.digest + _SUFFIX
                    os.replace(name, target, src_dir_fd=directory, dst_dir_fd=directory)
                self.writes += 1
                self._bound(directory, size)
        except (_Unusable, OSError) as error:
            self._warn_unusable(error)

    def _bound(self, directory: int, written: int) -> None:
        self._total += written
        self._puts_left -= 1
        if self._total > self.limit_bytes or self._puts_left < 0:
            self._total = self._delete_old(directory)
            self._puts_left = _SURVEY_EVERY

    def _delete_old(self, directory: int) -> int:
        """Bring the directory below its bound; returns how many bytes remain."""
        entries = []
        for name, status in _files(directory):
            if name.endswith(_SUFFIX):
                entries.append((status.st_mtime_ns, status.st_size, name))
            elif name.startswith(_TEMPORARY) and time.time() - status.st_mtime > _STALE_SECONDS:
                _unlink(name, directory)
        total = sum(size for _, size, _ in entries)
        if total <= self.limit_bytes:
            return total
        # Somewhat below the bound, so that not every later put has to delete something.
        aim = self.limit_bytes * 9 // 10
        for _, size, name in sorted(entries)[:-1]:
            if total <= aim:
                break
            _unlink(name, directory)
            total -= size
        return total

    def explain_miss(self, key: Key) -> str:
        """Why there is nothing under a key: in which parts the nearest entry differs.

        Parameters
        ----------
        key : Key
            A key that `get` found nothing for.

        Returns
        -------
        str
            One line.
        """
        try:
            with self._opened(create=False) as directory:
                return _explain(key, list(self._stored_parts(directory)))
        except FileNotFoundError:
            return "the cache is empty"
        except (_Unusable, OSError) as error:
            return f"the cache cannot be used: {error}"

    def _stored_parts(self, directory: int) -> Iterator[dict[str, str]]:
        """The digests of the parts of the entries used last, the latest first."""
        secret = _secret(directory, create=False)
        if secret is None:
            return
        files = [file for file in _files(directory) if file[0].endswith(_SUFFIX)]
        files.sort(key=lambda file: file[1].st_mtime_ns, reverse=True)
        for name, _ in files[:_MOST_COMPARED]:
            with suppress(OSError, _Broken):
                content, _ = _read_file(name, directory)
                described, _ = _decode_header(content, name.removesuffix(_SUFFIX), secret)
                yield dict(described["parts"])

    def _warn_broken(self, digest: str, error: Exception) -> None:
        _warn_once(
            "broken",
            f"the entry {digest[:12]} of the cache in {self.directory} is ignored: it is {error}; "
            "no further entry is reported",
        )

    def _warn_unusable(self, error: Exception) -> None:
        _warn_once(
            "unusable",
            f"nothing is cached in {self.directory}: {error}; "
            "set FUSEGRAD_CACHE_DIR to a directory of your own, or to off for no cache",
        )


def _files(directory: int) -> list[tuple[str, os.stat_result]]:
    found = []
    with os.scandir(directory) as entries:
        for entry in entries:
            with suppress(OSError):
                found.append((entry.name, entry.stat(follow_symlinks=False)))
    return found


def _unlink(name: str, directory: int) -> None:
    with suppress(OSError):
        os.unlink(name, dir_fd=directory)


def _explain(key: Key, stored: Sequence[dict[str, str]]) -> str:
    wanted = dict(key.digests)
    alike = [parts for parts in stored if parts.keys() == wanted.keys()]
    if not alike:
        return "no entry of this kind was ever stored, or it was deleted"

    def equal(parts: dict[str, str]) -> list[str]:
        return [name for name in wanted if parts[name] == wanted[name]]

    nearest = max(alike, key=lambda parts: len(equal(parts)))
    same = equal(nearest)
    if len(same) == len(wanted):
        return "it is there now"
    differing = ", ".join(name for name in wanted if name not in same)
    return f"the nearest entry differs in {differing} (equal: {', '.join(same) or 'nothing'})"


# --- the user's cache -----------------------------------------------------------------------------


@functools.cache
def _cache_in(directory: str) -> DiskCache:
    return DiskCache(directory)


def default() -> DiskCache | None:
    """The cache that the configuration names.

    Returns
    -------
    DiskCache or None
        None if it is turned off, or the system has no owners of files.
    """
    directory = config.current().cache_dir
    if directory is None or not hasattr(os, "geteuid"):
        return None
    return _cache_in(os.fspath(directory))
