"""The environment switches: what they accept, what they refuse, how many processors there are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fusegrad import config
from fusegrad.config import Config, available_cpus
from fusegrad.errors import ConfigError, FusegradWarning


def test_defaults() -> None:
    parsed = Config.from_environ({})
    assert parsed == Config(
        dump=None,
        check=False,
        explain=frozenset(),
        target=None,
        cache_dir=Path("~/.cache/fusegrad").expanduser(),
        num_threads=available_cpus(),
        cuda_emit=None,
    )


def test_every_switch(tmp_path: Path) -> None:
    parsed = Config.from_environ(
        {
            "FUSEGRAD_DUMP": str(tmp_path / "dump"),
            "FUSEGRAD_CHECK": "1",
            "FUSEGRAD_EXPLAIN": "fusion, cache",
            "FUSEGRAD_TARGET": "x86-64-v3",
            "FUSEGRAD_CACHE_DIR": str(tmp_path),
            "FUSEGRAD_NUM_THREADS": "3",
            "FUSEGRAD_CUDA_EMIT": "nvptx",
        }
    )
    assert parsed == Config(
        dump=tmp_path / "dump",
        check=True,
        explain=frozenset({"cache", "fusion"}),
        target="x86-64-v3",
        cache_dir=tmp_path,
        num_threads=3,
        cuda_emit="nvptx",
    )


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("CHECK", "yes", "set it to 0 or 1, or unset it"),
        ("EXPLAIN", "all", "set it to cache or fusion, or both with a comma, or unset it"),
        ("CUDA_EMIT", "nvrtc", "set it to numba or nvptx, or unset it"),
        ("NUM_THREADS", "many", "set it to a number from 1 to 1024, or unset it"),
        ("NUM_THREADS", "0", "set it to a number from 1 to 1024, or unset it"),
        ("NUM_THREADS", "-1", "set it to a number from 1 to 1024, or unset it"),
        ("NUM_THREADS", "1_0", "set it to a number from 1 to 1024, or unset it"),
        ("NUM_THREADS", "1025", "set it to a number from 1 to 1024, or unset it"),
    ],
)
def test_refused_values(name: str, value: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_environ({f"FUSEGRAD_{name}": value})
    assert str(caught.value) == f"FUSEGRAD_{name} is {value!r} [FG401]\n  remedy: {remedy}"


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ConfigError, match="this is a file"):
        Config.from_environ({"FUSEGRAD_DUMP": str(file)})


def test_empty_counts_as_unset() -> None:
    assert Config.from_environ({"FUSEGRAD_CHECK": "", "FUSEGRAD_DUMP": " "}).dump is None


def test_unknown_switch() -> None:
    with pytest.warns(FusegradWarning, match="did you mean FUSEGRAD_NUM_THREADS"):
        Config.from_environ({"FUSEGRAD_NUM_THREAD": "1"})


def test_cache_directory_follows_the_xdg_specification(tmp_path: Path) -> None:
    parsed = Config.from_environ({"XDG_CACHE_HOME": str(tmp_path)})
    assert parsed.cache_dir == tmp_path / "fusegrad"
    parsed = Config.from_environ({"XDG_CACHE_HOME": "relative"})
    assert parsed.cache_dir == Path("~/.cache/fusegrad").expanduser()


def test_current_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    before = config.current()
    monkeypatch.setenv("FUSEGRAD_NUM_THREADS", str(before.num_threads + 1))
    assert config.current() is before


# --- processors -----------------------------------------------------------------------------------


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


@pytest.mark.usefixtures("many")
def test_affinity_alone(tmp_path: Path) -> None:
    assert available_cpus(tmp_path) == 8


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize(
    ("limit", "count"),
    [("300000 100000", 3), ("250000 100000", 2), ("50000 100000", 1), ("max 100000", 8)],
)
def test_cgroup_version_2(tmp_path: Path, limit: str, count: int) -> None:
    write(tmp_path, {"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": limit + "\n"})
    assert available_cpus(tmp_path) == count


@pytest.mark.usefixtures("many")
def test_a_cgroup_above_limits_too(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}
    files["sys/fs/cgroup/a/cpu.max"] = "200000 100000\n"
    assert available_cpus(write(tmp_path, files)) == 2


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize(("quota", "count"), [("400000", 4), ("-1", 8)])
def test_cgroup_version_1(tmp_path: Path, quota: str, count: int) -> None:
    files = {
        "proc/self/cgroup": "5:memory:/x\n3:cpu,cpuacct:/docker/1\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": quota + "\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    }
    assert available_cpus(write(tmp_path, files)) == count


def test_this_machine() -> None:
    assert 1 <= available_cpus() <= (os.cpu_count() or 1)
