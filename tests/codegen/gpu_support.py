"""Kernels compiled for a GPU and run by the simulator, compared with the interpreter."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from fusegrad.codegen.dtypes import DType
from fusegrad.codegen.evaluate import evaluate
from fusegrad.codegen.expr import Buffer, Extent, Var
from fusegrad.codegen.half import from_bfloat16, to_bfloat16
from fusegrad.codegen.interpret import interpret_kernel
from fusegrad.codegen.kernel import Kernel, Role
from fusegrad.codegen.targets.gpu import GpuKernel, compile_gpu
from fusegrad.codegen.targets.numba_intrinsic import installed
from fusegrad.codegen.targets.ptx_simulator import simulate
from fusegrad.codegen.verify import verify_kernel

Array = np.ndarray[Any, Any]


def _assembler() -> str | None:
    """NVIDIA's assembler: of a toolkit, or of the package nvidia-cuda-nvcc."""
    found = find_spec("nvidia")
    folders = list(found.submodule_search_locations or ()) if found is not None else []
    packaged = [p for folder in folders for p in Path(folder).glob("*/bin/ptxas")]
    return shutil.which("ptxas") or (str(packaged[0]) if packaged else None)


PTXAS = _assembler()


def numba_without_nvrtc() -> None:
    """Answer for NVIDIA's runtime compiler (90 MB) what numba asks of it, though it is not used."""
    if not installed():
        return
    from cuda import pathfinder
    from numba.cuda import cuda_paths
    from numba.cuda.cudadrv import nvrtc

    try:
        pathfinder.load_nvidia_dynamic_lib("nvrtc")
    except RuntimeError:
        nvrtc.get_supported_ccs = lambda: [(8, 0), (9, 0)]
        cuda_paths._get_nvrtc_path = lambda: None


TOLERANCES = {"bfloat16": 2e-2, "float16": 4e-3, "float32": 2e-5, "float64": 1e-11}


def shape_of(buffer: Buffer, size: int) -> tuple[int, ...]:
    """The shape of the array of a parameter; flat memory where it has strides."""

    def number(extent: Extent) -> int:
        return size if isinstance(extent, Var) else extent

    shape = tuple(map(number, buffer.shape))
    if buffer.strides is None:
        return shape
    steps = map(number, buffer.strides)
    return (1 + sum((n - 1) * s for n, s in zip(shape, steps, strict=True)),)


def values(rng: np.random.Generator, dtype: DType, shape: tuple[int, ...]) -> Array:
    if dtype.name == "bfloat16":
        return np.asarray(to_bfloat16(rng.standard_normal(shape).astype(np.float32)))
    if dtype.is_float:
        return rng.standard_normal(shape).astype(dtype.numpy)
    return rng.integers(0, 2 if dtype.bits == 1 else 3, shape).astype(dtype.numpy)


def wide(array: Array, dtype: DType) -> Array:
    """An array of floats in float64."""
    given = from_bfloat16(array) if dtype.name == "bfloat16" else array
    return np.asarray(given, np.float64)


def run(made: GpuKernel, arrays: list[Array], size: int, seed: int | None = None) -> None:
    """Every stage of a compiled kernel; what it only writes is undefined before."""
    sizes = [size] * len(made.logical.sizes)
    env = {var: np.int64(size) for var in made.logical.sizes}
    launches = [(s.entry, int(evaluate(s.grid, env)), s.block) for s in made.stages]
    fresh = [p.role in (Role.OUT, Role.PARTIAL) for p in made.logical.params]
    simulate(made.ptx, launches, arrays, made.workspace_bytes, sizes, fresh, seed)


def check(kernel: Kernel, size: int, label: str = "", seed: int = 1) -> GpuKernel:
    """Compile a logical kernel, simulate it, and compare with the interpreter."""
    rng = np.random.default_rng(seed)
    made = compile_gpu(kernel, size)
    for stage in made.stages:
        verify_kernel(stage.kernel)
    arrays = [values(rng, p.buffer.dtype, shape_of(p.buffer, size)) for p in kernel.params]
    expected, found = [a.copy() for a in arrays], [a.copy() for a in arrays]
    for param, array in zip(kernel.params, found, strict=True):
        if param.role in (Role.OUT, Role.PARTIAL):
            array.reshape(-1).view(np.uint8)[...] = 0xA5
    interpret_kernel(kernel, expected, [size] * len(kernel.sizes))
    run(made, found, size)
    for param, a, b in zip(kernel.params, expected, found, strict=True):
        if param.role is not Role.PARTIAL:
            compare(param.buffer, a, b, f"{label} {kernel.name}: {param.buffer.name}")
    return made


def compare(buffer: Buffer, expected: Array, found: Array, label: str) -> None:
    if not buffer.dtype.is_float:
        np.testing.assert_array_equal(found, expected, err_msg=label)
        return
    a, b = wide(expected, buffer.dtype), wide(found, buffer.dtype)
    tolerance = TOLERANCES[buffer.dtype.name]
    largest = max(1.0, float(np.max(np.abs(a), where=np.isfinite(a), initial=0)))
    with np.errstate(invalid="ignore"):
        near = np.abs(a - b) <= tolerance * (largest + np.abs(a))
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    assert (near | same).all(), f"{label}: {int((~(near | same)).sum())} of {a.size} differ"


def joined(modules: Sequence[str]) -> str:
    """Modules of PTX as one, in which every entry and function has a name of its own."""
    parts: list[str] = []
    for number, text in enumerate(modules):
        names = re.findall(r"\.(?:entry|func)\s+(?:\([^)]*\)\s*)?([\w$]+)\s*\(", text)
        for name in sorted(set(names)):
            text = re.sub(rf"(?<![\w$]){re.escape(name)}(?!\d)", f"m{number}_{name}", text)
        if number:
            text = re.sub(r"^\.(version|target|address_size).*$", "", text, flags=re.MULTILINE)
        parts.append(text)
    return "\n".join(parts)


def assembled(
    modules: Sequence[str], architecture: str, folder: Path
) -> list[tuple[int, int, int]]:
    """Modules assembled by ptxas: of each entry the threads of a block, registers and spills."""
    assert PTXAS is not None
    path = folder / f"{architecture}.ptx"
    text = joined(modules)
    path.write_text(text)
    done = subprocess.run(
        [PTXAS, "-v", f"-arch={architecture}", "-o", str(path.with_suffix(".cubin")), str(path)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[:2000]
    threads = dict(re.findall(r"\.entry (\w+)\([^{]*?\.maxntid (\d+)", text))
    told = re.findall(
        r"entry function '(\w+)'.*?(\d+) bytes spill stores.*?Used (\d+) registers",
        done.stderr,
        re.DOTALL,
    )
    assert len(told) == len(threads)
    return [(int(threads[name]), int(used), int(spilled)) for name, spilled, used in told]
