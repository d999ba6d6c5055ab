"""The kernel compiler: scalars, loops and buffers in, machine code out.

Knows nothing of tensors and graphs, and imports nothing else of fusegrad.
"""

from __future__ import annotations

if __name__ != "fusegrad.codegen":
    raise ImportError(
        f"this is fusegrad's kernel compiler, and its name is fusegrad.codegen, not {__name__}; "
        "write `import fusegrad.codegen`, and take the root of the repository off sys.path if "
        "`codegen` is meant to be another package"
    )
