"""The code of a compiled function in the languages that people can ask for.

Knows the stages from a graph to kernels, and the printers of kernels; runs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from ..codegen.printer import print_kernel
from ..codegen.targets.gpu import compile_gpu, compile_gpu_together, processor
from ..codegen.targets.numba_cuda import numba_cuda_source
from ..codegen.targets.python import python_source
from ..errors import OptionError
from ..ir.node import Node
from ..runtime.build import Artifacts, build_record
from ..runtime.device_build import build_device_record
from ..runtime.device_code import emission, gpu_target
from ..runtime.devices import DeviceKernel

__all__ = ["LANGUAGES", "Sources"]

LANGUAGES = ("llvm", "python", "ptx", "gpu", "numba.cuda")
"""What `Sources.text` gives."""

_ANY = "sm_90"


@final
class Sources:
    """The code of a graph, made when somebody asks for it.

    Parameters
    ----------
    outputs, inputs : sequence of Node
    donations : sequence of (int, int)
    """

    def __init__(
        self,
        outputs: Sequence[Node],
        inputs: Sequence[Node],
        donations: Sequence[tuple[int, int]],
    ) -> None:
        self.graph = outputs, inputs, donations

    def text(self, language: str) -> str:
        """All kernels in one of `LANGUAGES`.

        Raises
        ------
        OptionError
            If there is no such language.
        """
        if language not in LANGUAGES:
            raise OptionError(
                f"there is no source in {language!r}",
                remedy=f"ask for one of {', '.join(map(repr, LANGUAGES))}",
            )
        if language == "llvm":
            made = Artifacts()
            build_record(*self.graph, made)
            return made.ir
        kernels = self.kernels()
        if language == "ptx":
            pairs = [(e.kernel, e.size) for e in kernels]
            target = processor(gpu_target() or _ANY)
            return "\n".join(k.ptx for k in compile_gpu_together(pairs, target, emission()))
        if language == "gpu":
            return "\n\n".join(
                print_kernel(stage.kernel)
                for e in kernels
                for stage in compile_gpu(e.kernel, e.size, processor(e.target)).stages
            )
        return "\n\n".join(_printed(e, language) for e in kernels)

    def kernels(self) -> list[DeviceKernel]:
        """The logical kernels, for the GPU that FUSEGRAD_TARGET names, or any."""
        record = build_device_record(*self.graph, Artifacts())
        return [DeviceKernel(e.kernel, e.items, gpu_target() or _ANY) for e in record.code]


def _printed(e: DeviceKernel, language: str) -> str:
    try:
        if language == "python":
            return python_source(e.kernel)
        return numba_cuda_source(e.kernel, e.size)
    except ValueError as error:
        # One kernel without a text hides no others.
        return f"# {e.kernel.name}: {error}\n"
