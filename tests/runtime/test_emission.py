"""Kernels compiled by threads while others are lowered."""

from __future__ import annotations

import ctypes
import gc
import time
from pathlib import Path

import numpy as np
import pytest

import fusegrad as fg
from fusegrad import config
from fusegrad.codegen.targets import base, llvm
from fusegrad.runtime import cache, emission, loader
from fusegrad.runtime.emission import Emission

TWICE = "define internal i64 @fg.twice(i64 %x) noinline { entry: %y = add i64 %x, %x ret i64 %y }"


def kernel(number: int) -> str:
    return f"""{TWICE}

define i64 @kernel(i64 %x) {{
  %a = call i64 @fg.twice(i64 %x)
  %b = add i64 %a, {number}
  ret i64 %b
}}"""


def compiled(texts: list[str], monkeypatch: pytest.MonkeyPatch, cpus: int) -> tuple[bytes, ...]:
    monkeypatch.setattr(config, "available_cpus", lambda: cpus)
    with Emission(base.host()) as made:
        for text in texts:
            made.add(text, False)
        code = made.finish()
    assert not code.drafts
    return code.objects


@pytest.mark.parametrize("least", [1, 200, 100_000])
def test_a_shared_function_is_compiled_once(least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emission, "_LEAST_TEXT", least)
    texts = [kernel(n) for n in (*range(6), 3)]
    objects = compiled(texts, monkeypatch, 3)
    assert len(objects) == 1 + {1: 6, 200: 3, 100_000: 1}[least]
    assert sum(b"fg.twice" in code for code in objects) == len(objects)
    symbols = [emission.symbol_of(text) for text in texts]
    library = loader.load(objects, symbols, {})
    call = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)
    for number, symbol in zip((*range(6), 3), symbols, strict=True):
        assert call(library.address(symbol))(10) == 20 + number


def test_objects_do_not_depend_on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emission, "_LEAST_TEXT", 1)
    texts = [kernel(n) for n in range(20)]
    one = compiled(texts, monkeypatch, 1)
    assert [compiled(texts, monkeypatch, n) for n in (2, 4)] == [one, one]


def test_programs_have_the_same_object_of_a_shared_function(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = []
    compile_module = llvm.compile_module
    monkeypatch.setattr(llvm, "compile_module", lambda *a: made.append(a[0]) or compile_module(*a))
    emission._known.clear()
    objects = [compiled([kernel(n)], monkeypatch, 1) for n in (70, 71)]
    assert sum("fg.twice(i64 %x) noinline {" in text for text in made) <= 1
    assert objects[0][0] is objects[1][0]
    assert objects[0][1] != objects[1][1]


def emitted(texts: list[str], draft: bool = False) -> emission.Code:
    with Emission(base.host()) as made:
        for text in texts:
            made.add(text, False, draft=draft)
        return made.finish()


@pytest.mark.parametrize("draft", [False, True])
def test_kernels_of_a_living_step_are_not_compiled_again(draft: bool) -> None:
    first = emitted([kernel(n) for n in range(100, 104)], draft)
    assert first.made == 4
    texts = [kernel(n) for n in (102, 200, 100, 201)]
    second = emitted(texts, draft)
    assert second.made == 2
    symbols = [emission.symbol_of(text) for text in texts]
    library = loader.load([*second.objects, *(d.code for d in second.drafts)], symbols, {})
    call = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)
    values = [call(library.address(symbol))(10) for symbol in symbols]
    assert values == [122, 220, 120, 221]
    # Objects that have a kernel in common do not go together: one of them is left out.
    third = emitted([kernel(n) for n in (103, 200, 102)], draft)
    assert third.made == 0
    del first, second, third
    gc.collect()
    assert emitted([kernel(100)], draft).made == 1


def test_drafts_import_what_is_compiled_well() -> None:
    with Emission(base.host()) as made:
        texts = [kernel(n) for n in range(5)]
        for number, text in enumerate(texts):
            made.add(text, False, draft=number % 2 == 0)
        code = made.finish()
    objects, drafts = code.objects, code.drafts
    assert (len(objects), len(drafts)) == (2, 1)
    symbols = [emission.symbol_of(text) for text in texts]
    call = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)
    better = [draft.improved(base.host()) for draft in drafts]
    for code in ([d.code for d in drafts], better):
        library = loader.load([*objects, *code], symbols, {})
        values = [call(library.address(symbol))(10) for symbol in symbols]
        assert values == [20, 21, 22, 23, 24]


@pytest.fixture
def nothing_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = cache.DiskCache(tmp_path / "cache")
    monkeypatch.setattr(cache, "default", lambda: disk)
    monkeypatch.setattr(emission, "_known", {})
    gc.collect()


def kinds(given: str, start: int) -> emission.Code:
    """Kernels that are (b) no drafts, (d) drafts or (l) light, one after the other; all tried."""
    texts = [kernel(start + n) for n in range(len(given))]
    with Emission(base.host()) as made:
        for kind, text in zip(given, texts, strict=True):
            made.add(text, False, draft=kind != "b", light=kind == "l")
        code = made.finish()
    symbols = [emission.symbol_of(text) for text in texts]
    call = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)
    better = [draft.improved(base.host()) for draft in code.drafts]
    for drafts in ([d.code for d in code.drafts], better):
        library = loader.load([*code.objects, *drafts], symbols, {})
        values = [call(library.address(symbol))(10) - 20 - start for symbol in symbols]
        assert values == [*range(len(given))]
    return code


@pytest.mark.usefixtures("nothing_known")
@pytest.mark.parametrize("least", [1, 100_000])
def test_light_kernels_have_their_functions_with_them(
    least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emission, "_LEAST_DRAFT", least)
    light = kinds("lll", 300)
    assert (len(light.objects), len(light.drafts)) == (0, 3 if least == 1 else 1)
    # One that needs it well has it compiled, also for those that come later.
    assert len(kinds("lbl", 310).objects) == 2
    assert len(kinds("ldldbll", 320).objects) == 2
    # From then on it is there.
    assert len(kinds("lll", 330).objects) == 1


@pytest.mark.usefixtures("nothing_known")
def test_a_light_step_is_improved_with_its_functions() -> None:
    weight = np.random.default_rng(0).standard_normal((20, 30), dtype=np.float32)
    f = fg.compile(lambda x: fg.tanh(x @ weight))
    x = np.ones((5, 20), np.float32)
    first = f(x).numpy().tobytes()
    assert f.stats().drafts
    end = time.monotonic() + 60
    while f.stats().drafts and time.monotonic() < end:
        assert f(x).numpy().tobytes() == first
        time.sleep(0.01)
    assert not f.stats().drafts
    assert f(x).numpy().tobytes() == first


def test_what_the_compiler_refuses_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emission, "_LEAST_TEXT", 1)
    with pytest.raises(RuntimeError, match=r"kernel|expected|invalid|error"):
        compiled([kernel(1), "define i64 @kernel() { nonsense }", kernel(2)], monkeypatch, 2)


def test_a_step_of_many_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emission, "_LEAST_TEXT", 1)

    def f(x, w):
        for n in range(4):
            x = fg.tanh(x @ w + n) * fg.softmax(x, dim=1)
        return x, x.sum(0)

    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(17, 23)), rng.normal(size=(23, 23))
    expected = [y.numpy() for y in f(fg.asarray(x), fg.asarray(w))]
    for found, wanted in zip(fg.compile(f)(x, w), expected, strict=True):
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-10)
