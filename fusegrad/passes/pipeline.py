"""The passes over the graph, in one tuple, in the order they run.

Knows the names of passes; knows no rule and no op.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import final

from ..codegen.records import dataclass
from ..ir.node import Node, Roots
from ..ir.rewrite import rewrite
from ..ir.verify import verify_graph
from .again import lie_between, make_again
from .blocks import block_large
from .contractions import transpose_contractions
from .halves import widen_halves
from .library_values import masks_from_results
from .loops import tidy_loops
from .matrices import small_matrices
from .products import find_products
from .rematerialise import rematerialise
from .simplify import CANONICAL, SIMPLIFY, in_one_order

__all__ = ["GPU_PASSES", "PASSES", "Observer", "Pass", "run_passes"]

Observer = Callable[[str, Sequence[Node], float], None]


@final
@dataclass(frozen=True)
class Pass:
    """A named step from graph to graph; what it gives computes what it was given."""

    name: str
    run: Callable[[Sequence[Node]], list[Node]]


PASSES: tuple[Pass, ...] = (
    Pass("simplify", lambda outputs: rewrite(outputs, (*CANONICAL, *SIMPLIFY, in_one_order()))),
    Pass("products", find_products),
    Pass("contractions", transpose_contractions),
    Pass("loops", tidy_loops),
    Pass("halves", widen_halves),
    Pass("matrices", small_matrices),
    Pass("again", make_again),
    Pass("blocks", lambda outputs: block_large(outputs, lie_between)),
    Pass("movement", lambda outputs: rewrite(outputs, (*SIMPLIFY, in_one_order()))),
    Pass("rematerialise", rematerialise),
)


_GPU = {"blocks": Pass("blocks", block_large)}
GPU_PASSES: tuple[Pass, ...] = (
    # Memory is not what such a machine lacks, and a library makes an activation with its product.
    *(_GPU.get(step.name, step) for step in PASSES if step.run not in (make_again, rematerialise)),
    Pass("masks", masks_from_results),
)
"""Those for a GPU, where libraries compute products."""


def run_passes(
    outputs: Sequence[Node],
    *,
    verify: bool = False,
    observe: Observer | None = None,
    passes: Sequence[Pass] = PASSES,
) -> list[Node]:
    """Run all passes.

    Parameters
    ----------
    outputs : sequence of Node
    verify : bool
        Check the graph after every pass.
    observe : callable, optional
        Called after every pass with its name, the graph and its seconds.
    passes : sequence of Pass, optional

    Returns
    -------
    list of Node
        As many as `outputs`.
    """
    result = Roots(outputs)
    for step in passes:
        start = time.perf_counter()
        made = step.run(result)
        if any(new is not old for new, old in zip(made, result, strict=True)):
            result = Roots(made)
        seconds = time.perf_counter() - start
        if verify:
            verify_graph(result)
        if observe is not None:
            observe(step.name, result, seconds)
    return [*result]
