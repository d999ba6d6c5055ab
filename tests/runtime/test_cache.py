"""The cache returns what this user's fusegrad stored, whole, and nothing else."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from fusegrad.config import Config
from fusegrad.errors import FusegradWarning
from fusegrad.runtime import cache
from fusegrad.runtime.cache import DiskCache, Entry, Key

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files have no owners here")
ROOT = Path(__file__).parents[2]
KEY = Key([("graph", b"x + 1"), ("target", b"avx2"), ("version", b"1")])
HEADER = {"slots": [1, 2], "name": "step"}
BLOBS = {"object": bytes(range(256)) * 20, "empty": b"", "plan": b"{}"}


@pytest.fixture(autouse=True)
def not_warned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_warned", set())


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "parent" / "cache"


@pytest.fixture
def filled(directory: Path) -> DiskCache:
    disk = DiskCache(directory)
    disk.put(KEY, HEADER, BLOBS)
    return disk


def entry_file(directory: Path) -> Path:
    return directory / f"{KEY.digest}.entry"


def test_what_is_stored_comes_back(filled: DiskCache, directory: Path) -> None:
    assert filled.get(KEY) == Entry(HEADER, BLOBS)
    assert DiskCache(directory).get(KEY) == Entry(HEADER, BLOBS)
    assert (filled.hits, filled.misses, filled.writes) == (1, 0, 1)
    filled.put(KEY, {}, {"object": b"other"})
    assert filled.get(KEY) == Entry({}, {"object": b"other"})


def test_what_is_not_stored_is_a_miss(filled: DiskCache, tmp_path: Path) -> None:
    assert filled.get(Key([("graph", b"x + 2")])) is None
    assert DiskCache(tmp_path / "nowhere").get(KEY) is None
    assert not (tmp_path / "nowhere").exists()
    assert filled.misses == 1


def test_names_belong_to_the_key() -> None:
    assert Key([("a", b"1"), ("b", b"2")]).digest != Key([("a", b"2"), ("b", b"1")]).digest
    assert Key([("a", b"1"), ("b", b"")]).digest != Key([("a", b"1")]).digest
    assert Key([("a", b"1"), ("b", b"2")]).digest != Key([("b", b"2"), ("a", b"1")]).digest
    assert Key([("ab", b"c")]).digest != Key([("a", b"bc")]).digest


def test_everything_is_private(filled: DiskCache, directory: Path) -> None:
    old = os.umask(0)
    try:
        filled.put(Key([("a", b"")]), {}, {})
    finally:
        os.umask(old)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    files = list(directory.iterdir())
    assert len(files) == 3
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_a_miss_is_explained(filled: DiskCache, directory: Path) -> None:
    other = Key([("graph", b"x + 1"), ("target", b"avx512"), ("version", b"1")])
    assert filled.explain_miss(other) == (
        "the nearest entry differs in target (equal: graph, version)"
    )
    filled.put(Key([("graph", b"y"), ("target", b"avx512"), ("version", b"2")]), {}, {})
    assert filled.explain_miss(other) == (
        "the nearest entry differs in target (equal: graph, version)"
    )
    unlike = Key([("graph", b"z"), ("target", b"z"), ("version", b"z")])
    assert filled.explain_miss(unlike) == (
        "the nearest entry differs in graph, target, version (equal: nothing)"
    )
    assert filled.explain_miss(KEY) == "it is there now"
    assert filled.explain_miss(Key([("other", b"")])).startswith("no entry of this kind")
    assert DiskCache(directory / "none").explain_miss(KEY) == "the cache is empty"


# --- entries that are not to be trusted -----------------------------------------------------------


def corrupt(position: int) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        place = position % len(content)
        return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]

    return change


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "within the prefix": lambda content: content[:30],
    "within the header": lambda content: content[:200],
    "within the blobs": lambda content: content[:-100],
    "one byte short": lambda content: content[:-1],
    "one byte long": lambda content: content + b"x",
    "other magic": corrupt(0),
    "other MAC": corrupt(20),
    "other length": corrupt(49),
    "huge length": lambda content: content[:49] + b"\xff" * 8 + content[57:],
    "other header": corrupt(100),
    "other blob": corrupt(-10),
    "text": lambda content: b"hello",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_entry_is_ignored_with_one_warning(
    filled: DiskCache, directory: Path, kind: str
) -> None:
    file = entry_file(directory)
    file.write_bytes(BROKEN[kind](file.read_bytes()))
    with pytest.warns(FusegradWarning, match="is ignored") as caught:
        assert filled.get(KEY) is None
    assert len(caught) == 1
    assert filled.get(KEY) is None
    filled.put(KEY, HEADER, BLOBS)
    assert filled.get(KEY) == Entry(HEADER, BLOBS)


def test_any_changed_byte_is_noticed(filled: DiskCache, directory: Path) -> None:
    file = entry_file(directory)
    content = file.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for position in [*range(0, 700), *range(700, len(content), 97)]:
            file.write_bytes(corrupt(position)(content))
            assert filled.get(KEY) is None


def test_an_entry_of_another_user_key_is_ignored(
    filled: DiskCache, directory: Path, tmp_path: Path
) -> None:
    foreign = DiskCache(tmp_path / "foreign")
    foreign.put(KEY, {"name": "evil"}, {"object": b"evil"})
    entry_file(directory).write_bytes(entry_file(tmp_path / "foreign").read_bytes())
    with pytest.warns(FusegradWarning, match="not written with this user's key"):
        assert filled.get(KEY) is None


def test_an_entry_under_another_name_is_ignored(filled: DiskCache, directory: Path) -> None:
    other = Key([("graph", b"other")])
    (directory / f"{other.digest}.entry").write_bytes(entry_file(directory).read_bytes())
    with pytest.warns(FusegradWarning, match="under a name that is not its own"):
        assert filled.get(other) is None


def test_entries_without_the_key_file_are_ignored(filled: DiskCache, directory: Path) -> None:
    (directory / "authentication-key").unlink()
    with pytest.warns(FusegradWarning, match="not written with this user's key"):
        assert filled.get(KEY) is None
    filled.put(KEY, HEADER, BLOBS)
    assert filled.get(KEY) == Entry(HEADER, BLOBS)


def test_links_and_pipes_are_not_followed(filled: DiskCache, directory: Path) -> None:
    file = entry_file(directory)
    moved = directory / "moved"
    file.rename(moved)
    file.symlink_to(moved)
    with pytest.warns(FusegradWarning, match="a symbolic link"):
        assert filled.get(KEY) is None
    file.unlink()
    os.mkfifo(file)
    assert filled.get(KEY) is None
    file.unlink()
    file.mkdir()
    assert filled.get(KEY) is None


# --- directories that are not to be trusted -------------------------------------------------------


def assert_off(disk: DiskCache, match: str) -> None:
    with pytest.warns(FusegradWarning, match=match) as caught:
        disk.put(KEY, HEADER, BLOBS)
    assert len(caught) == 1
    # A second warning would be an error here.
    assert disk.get(KEY) is None


def test_a_directory_open_to_others_is_not_used(filled: DiskCache, directory: Path) -> None:
    directory.chmod(0o750)
    assert_off(filled, "its mode is 750, not 700")


def test_a_key_file_open_to_others_is_not_used(filled: DiskCache, directory: Path) -> None:
    (directory / "authentication-key").chmod(0o644)
    assert_off(filled, "key file is open to other users")


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_a_damaged_key_file_is_not_used(filled: DiskCache, directory: Path, content: bytes) -> None:
    (directory / "authentication-key").write_bytes(content)
    assert_off(filled, "key file is damaged")


def test_a_linked_key_file_is_not_used(filled: DiskCache, directory: Path) -> None:
    file = directory / "authentication-key"
    file.rename(directory / "moved")
    file.symlink_to(directory / "moved")
    assert_off(filled, "key file is a symbolic link")


def test_a_linked_directory_is_not_used(filled: DiskCache, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(filled.directory)
    assert_off(DiskCache(link), "not a directory that can be opened")


def test_a_directory_of_another_user_is_not_used(
    filled: DiskCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 123_456)
    assert_off(filled, "belongs to another user")


def test_a_file_in_place_of_the_directory(directory: Path) -> None:
    directory.parent.mkdir()
    directory.write_text("")
    assert_off(DiskCache(directory), "not a directory that can be opened")


def test_a_parent_that_cannot_hold_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.warns(FusegradWarning, match="nothing is cached") as caught:
        DiskCache(tmp_path / "file" / "cache").put(KEY, {}, {})
    assert len(caught) == 1


# --- disks that fail ------------------------------------------------------------------------------


def test_a_full_disk_is_no_error(
    filled: DiskCache, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, content: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.os, "write", full)
    with pytest.warns(FusegradWarning, match="No space left") as caught:
        filled.put(KEY, {}, BLOBS)
    assert len(caught) == 1
    # A second warning would be an error here.
    filled.put(KEY, {}, BLOBS)
    assert filled.get(KEY) == Entry(HEADER, BLOBS)
    assert len(list(directory.iterdir())) == 2


def test_a_read_only_disk_is_read(filled: DiskCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(cache.os, "utime", refuse)
    assert filled.get(KEY) == Entry(HEADER, BLOBS)


# --- size -----------------------------------------------------------------------------------------


def size(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.glob("*.entry"))


def numbered(number: int) -> Key:
    return Key([("number", str(number).encode())])


def test_the_size_is_bounded_and_what_was_used_last_stays(directory: Path) -> None:
    disk = DiskCache(directory, limit_bytes=100_000)
    for number in range(40):
        disk.put(numbered(number), {}, {"object": bytes(9000)})
        file = directory / f"{numbered(number).digest}.entry"
        # Times that a coarse clock would not tell apart.
        os.utime(file, (number + 10, number + 10))
        if number >= 1:
            assert disk.get(numbered(0)) is not None
        assert size(directory) <= 100_000
    assert disk.get(numbered(39)) is not None
    assert disk.get(numbered(5)) is None


def test_what_alone_exceeds_the_bound_is_not_stored(directory: Path) -> None:
    disk = DiskCache(directory, limit_bytes=1000)
    disk.put(KEY, {}, {"object": bytes(2000)})
    assert disk.get(KEY) is None


def test_files_of_dead_writers_are_deleted(directory: Path) -> None:
    disk = DiskCache(directory, limit_bytes=1 << 20)
    disk.put(KEY, {}, {})
    old, new = directory / ".writing-1-old", directory / ".writing-1-new"
    for file in (old, new):
        file.write_bytes(b"x")
    os.utime(old, (1, 1))
    DiskCache(directory, limit_bytes=1 << 20).put(KEY, {}, {})
    assert not old.exists()
    assert new.exists()


# --- several processes ----------------------------------------------------------------------------


def test_processes_write_and_read_at_once(directory: Path) -> None:
    script = textwrap.dedent(
        """
        import random, sys, warnings
        warnings.simplefilter("error")
        from fusegrad.runtime.cache import DiskCache, Key
        disk = DiskCache(sys.argv[1], limit_bytes=300_000)
        hits = 0
        for step in range(150):
            number = random.randrange(20)
            key = Key([("number", str(number).encode())])
            entry = disk.get(key)
            if entry is not None:
                hits += 1
                assert entry.header == {"number": number}
                assert entry.blobs == {"object": bytes([number]) * 20_000}
            if entry is None or step % 3 == 0:
                disk.put(key, {"number": number}, {"object": bytes([number]) * 20_000})
        assert hits
        """
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script, str(directory)]
    writers = [
        subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for writer in writers:
        _, errors = writer.communicate(timeout=60)
        assert writer.returncode == 0, errors
    assert not list(directory.glob(".writing-*"))
    assert size(directory) <= 400_000


# --- the user's cache -----------------------------------------------------------------------------


def test_the_default_is_where_the_configuration_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def configured(value: str) -> DiskCache | None:
        parsed = Config.from_environ({"FUSEGRAD_CACHE_DIR": value})
        monkeypatch.setattr(cache.config, "current", lambda: parsed)
        return cache.default()

    found = configured(str(tmp_path / "here"))
    assert found is not None
    assert found.directory == str(tmp_path / "here")
    assert configured(str(tmp_path / "here")) is found
    assert configured("off") is None
    fallback = configured("")
    assert fallback is not None
    assert fallback.directory.endswith("fusegrad")
