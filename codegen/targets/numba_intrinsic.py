"""Kernels of numba.cuda whose body is one intrinsic that the emitter wrote, as PTX.

What is compiled together is one module, in which numba makes the first kernel and the intrinsic
brings the others along. The one file that knows the package numba-cuda, which is imported when the
first kernel is compiled; knows no schedules and no driver. Compiling needs neither a GPU nor a
driver, only the package and NVIDIA's libnvvm.
"""

from __future__ import annotations

import functools
import importlib.util
import re
from collections.abc import Sequence
from typing import Any, final

from llvmlite import ir

from ..records import dataclass
from .base import Features
from .nvptx import language_version
from .nvvm import NvvmModule, nvvm_module

__all__ = ["Entry", "installed", "numba_ptx", "why_not"]

_KERNEL = """def {name}({parameters}):
    body({parameters})
"""
_PREFIX = "_entry_"
_FUNCTION = re.compile(
    r"^\.(?:visible \.entry|func)\b[^{;]*(?:;|\{.*?^\})", re.MULTILINE | re.DOTALL
)
"""What PTX has of one entry or function: a definition, or that there is one."""
_NAME = re.compile(r"\.(entry|func) +(?:\([^)]*\)\s*)?([\w$]+)\s*\(")
_WORD = re.compile(r"[\w$]+")


@final
@dataclass(frozen=True)
class Entry:
    """A kernel of a module: what it takes, and the launches that it is made for.

    Attributes
    ----------
    name : str
    pointers, integers : int
        How many it takes of each.
    bounds : tuple of int
        The threads of a block, and maybe how many blocks a multiprocessor must have room for.
    """

    name: str
    pointers: int
    integers: int
    bounds: tuple[int, ...]


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
        package.ptx(nvvm_module(empty), [Entry("empty", 0, 1, (32,))], (9, 0))
    except Exception as error:
        return f"numba.cuda cannot compile kernels: {error}"
    return None


def numba_ptx(modules: Sequence[tuple[str, Sequence[Entry]]], target: Features) -> list[str]:
    """The PTX of modules, which are compiled together: numba and NVVM have one to do.

    Parameters
    ----------
    modules : sequence of (str, sequence of Entry)
        LLVM's text of each, as the emitter of GPU kernels writes it, and its kernels.
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
    # NVVM names the newest version that it knows, which older drivers refuse.
    head = f".version {language_version(target)}\n.target {target.cpu}\n.address_size 64\n"
    made: dict[int, str] = {}
    while len(made) < len(modules):
        together = _apart([n for n in range(len(modules)) if n not in made], modules)
        pieces = _compiled([modules[n] for n in together], target)
        for n in together:
            names = [entry.name for entry in modules[n][1]]
            made[n] = "\n".join([head, *_needed(names, pieces), ""])
    return [made[n] for n in range(len(modules))]


def _apart(numbers: Sequence[int], modules: Sequence[tuple[str, Sequence[Entry]]]) -> Sequence[int]:
    """Those of the modules that have no names in common."""
    names: set[str] = set()
    chosen: list[int] = []
    for n in numbers:
        own = {entry.name for entry in modules[n][1]}
        if not own & names:
            chosen.append(n)
            names |= own
    return chosen


def _compiled(
    modules: Sequence[tuple[str, Sequence[Entry]]], target: Features
) -> dict[str, list[str]]:
    """What PTX there is of each name."""
    lines = [line for text, _ in modules for line in text.splitlines()]
    # Functions that several modules have stand in one line, which tells all of them.
    shared = dict.fromkeys(line for line in lines if line.startswith("define internal "))
    own = [line for line in lines if line not in shared]
    entries = [entry for _, own_entries in modules for entry in own_entries]
    capability = divmod(int(target.cpu.removeprefix("sm_")), 10)
    ptx = _package().ptx(nvvm_module("\n".join([*shared, *own])), entries, capability)
    pieces: dict[str, list[str]] = {}
    for piece in _FUNCTION.findall(ptx):
        match = _NAME.search(piece)
        assert match is not None
        kind, name = match.groups()
        if kind == "entry":
            plain = name.removeprefix(_PREFIX)
            # The one that numba itself has named comes without the prefix.
            plain = plain if plain != name else entries[0].name
            piece, name = piece.replace(name, plain), plain
        pieces.setdefault(name, []).append(piece)
    return pieces


def _needed(names: Sequence[str], pieces: dict[str, list[str]]) -> list[str]:
    """Entries and the functions that they call, in the order in which these were written."""
    found: set[str] = set()
    open_ = list(names)
    while open_:
        name = open_.pop()
        found.add(name)
        words = {word for piece in pieces[name] for word in _WORD.findall(piece)}
        open_ += [word for word in words & pieces.keys() if word not in found]
    return [piece for name, own in pieces.items() if name in found for piece in own]


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

    def ptx(self, module: NvvmModule, entries: Sequence[Entry], capability: tuple[int, int]) -> str:
        """PTX of a kernel whose body is the first entry of a module, and of the other entries."""
        types, first = self.types, entries[0]
        parameters = [f"p{n}" for n in range(first.pointers + first.integers)]
        kinds = [types.CPointer(types.uint8)] * first.pointers + [types.int64] * first.integers
        scope: dict[str, Any] = {"body": self._body(module, entries, parameters)}
        exec(_KERNEL.format(name=first.name, parameters=", ".join(parameters)), scope)
        text, _ = self.cuda.compile_ptx(
            scope[first.name], types.void(*kinds), cc=capability, launch_bounds=first.bounds
        )
        return str(text)

    def _body(self, module: NvvmModule, entries: Sequence[Entry], parameters: Sequence[str]) -> Any:
        """The intrinsic: it adds the module to that of the kernel, and calls its first entry."""
        void = self.types.void

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            first, *others = self._added(builder.module, module, entries)
            builder.call(first, arguments)
            for function, entry in zip(others, entries[1:], strict=True):
                _kernel(function, entry)
            return context.get_dummy_value()

        def typed(context: Any, *kinds: Any) -> Any:
            return void(*kinds), generate

        # numba binds arguments by name.
        scope: dict[str, Any] = {"typed": typed}
        names = ", ".join(parameters)
        exec(f"def body(context, {names}):\n    return typed(context, {names})\n", scope)
        return self.intrinsic(scope["body"])

    def _added(self, target: Any, module: NvvmModule, entries: Sequence[Entry]) -> list[Any]:
        """The bodies of entries, in the module of the kernel that is compiled."""
        for function, (result, given) in module.declarations.items():
            if function not in target.globals:
                type_ = ir.FunctionType(self._type(result), [self._type(g) for g in given])
                ir.Function(target, type_, function)

        class Written(ir.Function):  # type: ignore[misc]
            """A function whose text, and all that it needs, is there."""

            text = ""

            def __str__(self) -> str:
                return self.text

        made = [Written(target, _signature(entry), entry.name) for entry in entries]
        made[0].text = module.definitions
        return made

    def _type(self, name: str) -> Any:
        simple = {"void": ir.VoidType, "float": ir.FloatType, "double": ir.DoubleType}
        return simple[name]() if name in simple else ir.IntType(int(name.removeprefix("i")))


def _signature(entry: Entry) -> Any:
    pointer = ir.IntType(8).as_pointer()
    kinds = [pointer] * entry.pointers + [ir.IntType(64)] * entry.integers
    return ir.FunctionType(ir.VoidType(), kinds)


def _kernel(body: Any, entry: Entry) -> None:
    """A kernel that calls its body, beside the one that numba makes."""
    module = body.module
    kernel = ir.Function(module, _signature(entry), _PREFIX + entry.name)
    builder = ir.IRBuilder(kernel.append_basic_block("entry"))
    builder.call(body, kernel.args)
    builder.ret_void()
    annotations = module.add_named_metadata("nvvm.annotations")
    told = {"kernel": 1, **dict(zip(("maxntidx", "minctasm"), entry.bounds, strict=False))}
    for name, value in told.items():
        number = ir.Constant(ir.IntType(32), value)
        annotations.add(module.add_metadata((kernel, ir.MetaDataString(module, name), number)))
