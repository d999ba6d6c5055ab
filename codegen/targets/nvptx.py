"""LLVM text as PTX for NVIDIA GPUs.

Knows LLVM's code generator for PTX; knows no kernels.
"""

from __future__ import annotations

import llvmlite.binding as llvm

from .base import Features
from .llvm_machine import parsed, target_machine

__all__ = ["language_version", "nearest", "processor", "ptx"]

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


def ptx(ir: str, target: Features) -> str:
    """The PTX of a module, local arrays made registers first."""
    module = parsed(ir)
    machine = target_machine(target)
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=2))
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_new_gvn_pass()
    passes.add_simplify_cfg_pass()
    passes.run(module, builder)
    return str(machine.emit_assembly(module))
