"""Kernels of numba.cuda whose body is one intrinsic that the emitter wrote, as PTX.

The one file that knows the package numba-cuda, which is imported when the first kernel is compiled;
knows no schedules and no driver. Compiling needs neither a GPU nor a driver, only the package and
NVIDIA's libnvvm.
"""

from __future__ import annotations

import functools
import importlib.util
import re
from collections.abc import Sequence
from typing import Any, final

from llvmlite import ir

from .base import Features
from .nvptx import language_version
from .nvvm import NvvmModule, nvvm_module

__all__ = ["installed", "numba_ptx", "why_not"]

_KERNEL = """def {name}({parameters}):
    body({parameters})
"""
_HEADER = re.compile(r"^\s*\.(?:version|target|address_size)\b.*$", re.MULTILINE)
_ENVIRONMENT = re.compile(r"^\s*\.common \.global .*_ZN08NumbaEnv.*;$", re.MULTILINE)
_ENTRY = re.compile(r"\.visible \.entry ([\w$]+)\(")
_FUNCTION = re.compile(r"^\s*\.func (?:\s*\([^)]*\))?\s*([\w$]+)\s*\(", re.MULTILINE)


def installed() -> bool:
    """Whether there is the package at all, which is not imported yet."""
    return importlib.util.find_spec("numba_cuda") is not None


@functools.cache
def why_not() -> str | None:
    """Why no kernel can be compiled by numba.cuda here, None if they can."""
    if not installed():
        return "the package numba-cuda is missing: pip install 'fusegrad[cuda]'"
    try:
        package = _package()
    except Exception as error:
        return f"numba.cuda cannot be imported: {error}"
    empty = "define ptx_kernel void @empty(i64 %s0) nounwind {\nentry:\n  ret void\n}\n"
    try:
        package.ptx(nvvm_module(empty), "empty", 0, 1, (32,), (9, 0))
    except Exception as error:
        return f"numba.cuda cannot compile kernels: {error}"
    return None


def numba_ptx(
    text: str, entries: Sequence[tuple[str, int, int, tuple[int, ...]]], target: Features
) -> str:
    """One PTX module with a kernel of numba.cuda for each entry.

    Parameters
    ----------
    text : str
        LLVM's, as the emitter of GPU kernels writes it.
    entries : sequence of (str, int, int, tuple of int)
        The name of each, how many pointers and how many integers it takes, the threads of a block
        and maybe how many blocks a multiprocessor must have room for.
    target : Features
        A `processor`.

    Raises
    ------
    RuntimeError
        If numba.cuda cannot compile here.
    """
    reason = why_not()
    if reason is not None:
        raise RuntimeError(reason)
    number = int(target.cpu.removeprefix("sm_"))
    module = nvvm_module(text)
    parts: list[str] = []
    for name, pointers, integers, bounds in entries:
        made = _package().ptx(module, name, pointers, integers, bounds, divmod(number, 10))
        parts.append(_part(made, name))
    version = language_version(target)
    # NVVM names the newest version that it knows, which older drivers refuse.
    head = f".version {version}\n.target {target.cpu}\n.address_size 64\n"
    return head + "\n".join(parts)


def _part(ptx: str, name: str) -> str:
    """What numba.cuda made for one kernel, to stand beside others: names are its own."""
    match = _ENTRY.search(ptx)
    assert match is not None
    ptx = _ENVIRONMENT.sub("", _HEADER.sub("", ptx)).replace(match[1], name)
    for function in sorted(set(_FUNCTION.findall(ptx))):
        ptx = re.sub(rf"{re.escape(function)}(?![\w$])", f"{function}_{name}", ptx)
    return ptx


@functools.cache
def _package() -> _NumbaCuda:
    return _NumbaCuda()


@final
class _NumbaCuda:
    """The package: what is used of it."""

    def __init__(self) -> None:
        from numba import cuda, types
        from numba.cuda import extending

        # The types that a checker sees are those of numba's own, older package.
        self.cuda: Any = cuda
        self.types: Any = types
        self.intrinsic: Any = extending.intrinsic

    def ptx(
        self,
        module: NvvmModule,
        name: str,
        pointers: int,
        integers: int,
        bounds: tuple[int, ...],
        capability: tuple[int, int],
    ) -> str:
        """PTX of a kernel whose body is the function `name` of a module."""
        types = self.types
        parameters = [f"p{n}" for n in range(pointers + integers)]
        kinds = [types.CPointer(types.uint8)] * pointers + [types.int64] * integers
        scope: dict[str, Any] = {"body": self._body(module, name, parameters)}
        exec(_KERNEL.format(name=name, parameters=", ".join(parameters)), scope)
        text, _ = self.cuda.compile_ptx(
            scope[name], types.void(*kinds), cc=capability, launch_bounds=bounds
        )
        return str(text)

    def _body(self, module: NvvmModule, name: str, parameters: Sequence[str]) -> Any:
        """The intrinsic: it adds the module to that of the kernel, and calls its function."""
        void = self.types.void

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            function = self._added(builder.module, module, name, [a.type for a in arguments])
            builder.call(function, arguments)
            return context.get_dummy_value()

        def typed(context: Any, *kinds: Any) -> Any:
            return void(*kinds), generate

        # numba binds arguments by name.
        scope: dict[str, Any] = {"typed": typed}
        names = ", ".join(parameters)
        exec(f"def body(context, {names}):\n    return typed(context, {names})\n", scope)
        return self.intrinsic(scope["body"])

    def _added(self, target: Any, module: NvvmModule, name: str, kinds: Sequence[Any]) -> Any:
        for function, (result, given) in module.declarations.items():
            if function not in target.globals:
                type_ = ir.FunctionType(self._type(result), [self._type(g) for g in given])
                ir.Function(target, type_, function)

        class Written(ir.Function):  # type: ignore[misc]
            """A function whose text, and all that it needs, is there."""

            def __str__(self) -> str:
                return module.definitions

        return Written(target, ir.FunctionType(ir.VoidType(), kinds), name)

    def _type(self, name: str) -> Any:
        simple = {"void": ir.VoidType, "float": ir.FloatType, "double": ir.DoubleType}
        return simple[name]() if name in simple else ir.IntType(int(name.removeprefix("i")))
