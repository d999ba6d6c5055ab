"""LLVM text as PTX for NVIDIA GPUs.

Knows LLVM's code generator for PTX; knows no kernels.
"""

from __future__ import annotations

import threading

import llvmlite.binding as llvm

from . import library
from .base import Features

__all__ = ["language_version", "nearest", "processor", "ptx"]

_LOCAL = threading.local()
_VERSIONS = {"sm_80": "+ptx70", "sm_86": "+ptx71", "sm_89": "+ptx78", "sm_90": "+ptx78"}


def processor(name: str = "sm_90") -> Features:
    """An NVIDIA processor by the name of its architecture.

    Raises
    ------
    ValueError
        If code for it is not made.

    Examples
    --------
    >>> processor("sm_80").triple
    'nvptx64-nvidia-cuda'
    """
    if name not in _VERSIONS:
        raise ValueError(f"no GPU {name!r}; they are {', '.join(_VERSIONS)}")
    return Features("nvptx64-nvidia-cuda", name, _VERSIONS[name], 16, False, 255)


def language_version(target: Features) -> str:
    """The version of PTX that code for a processor is written in.

    Examples
    --------
    >>> language_version(processor("sm_80"))
    '7.0'
    """
    digits = _VERSIONS[target.cpu].removeprefix("+ptx")
    return f"{digits[:-1]}.{digits[-1]}"


def nearest(capability: tuple[int, int]) -> str | None:
    """The newest architecture whose code a GPU of a compute capability runs, None if there is none.

    Examples
    --------
    >>> nearest((9, 0)), nearest((8, 7)), nearest((12, 0)), nearest((7, 5))
    ('sm_90', 'sm_86', 'sm_90', None)
    """
    number = capability[0] * 10 + capability[1]
    fitting = [name for name in _VERSIONS if int(name.removeprefix("sm_")) <= number]
    return max(fitting, key=lambda name: int(name.removeprefix("sm_")), default=None)


def _machine(target: Features) -> llvm.TargetMachine:
    """The code generator for `target`; one for each thread, kept."""
    machines: dict[Features, llvm.TargetMachine] | None = getattr(_LOCAL, "machines", None)
    if machines is None:
        machines = _LOCAL.machines = {}
    if target not in machines:
        library.initialize_others()
        found = llvm.Target.from_triple(target.triple)
        machines[target] = found.create_target_machine(
            cpu=target.cpu, features=target.features, opt=2, reloc="pic", codemodel="small"
        )
    return machines[target]


def ptx(ir: str, target: Features) -> str:
    """The PTX of a module, local arrays made registers first."""
    machine = _machine(target)
    # In a context of its own, so that threads do not meet.
    module = llvm.parse_assembly(ir, llvm.create_context())
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=2))
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_new_gvn_pass()
    passes.add_simplify_cfg_pass()
    passes.run(module, builder)
    return str(machine.emit_assembly(module))
