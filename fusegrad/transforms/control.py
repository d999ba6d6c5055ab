"""Control flow on values: `scan`, `while_loop`, `fori_loop`, `cond`, `switch` and `map`.

Knows tensors, containers and recorded functions; what a loop computes and how it is differentiated
is in `autodiff`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import pytree
from ..autodiff.body import Body
from ..autodiff.branch import Switch
from ..autodiff.loop import While
from ..autodiff.scan import Scan, scan_results
from ..codegen.dtypes import bool_, int64
from ..errors import ArgumentStructureError, DTypeError, ShapeError
from ..functions.joining import concat
from ..ir.node import Node, record_source, substitute, where
from ..ir.types import TensorType
from ..ops import build
from ..ops.build import item
from ..tensors.tensor_class import Tensor, as_tensor
from .closures import (
    Carried,
    Closure,
    Counters,
    Outside,
    closed_functions,
    difference_of,
    finish,
    recorded,
)
from .vectorized import vmap

__all__ = ["cond", "fori_loop", "map", "scan", "switch", "while_loop"]

Function = Callable[..., Any]


# --- loops of a known length ----------------------------------------------------------------------


def scan(
    f: Function,
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    checkpoint_every: int | None = None,
) -> tuple[Any, Any]:
    """A loop over slices, whose state is handed from iteration to iteration.

    It computes what this does, and `f` is recorded once, however long the loop is::

        carry, ys = init, []
        for x in xs:
            carry, y = f(carry, x)
            ys.append(y)
        return carry, stack(ys)

    Parameters
    ----------
    f : callable
        ``f(carry, x)`` returns ``(carry, y)``. The carry it returns has the structure, the shapes
        and the dtypes of the one it takes. Gradients flow to tensors from outside, too.
    init : array_like, or containers of them
        The first carry.
    xs : array_like, or containers of them, optional
        What the slices are taken from, along axis 0; without it `x` is None.
    length : int, optional
        How many iterations; needed only without `xs`.
    reverse : bool, optional
        Whether the last slice comes first. The ys lie as the xs do.
    checkpoint_every : int, optional
        For gradients, store the carries of every so many iterations only, and compute what lies
        between again: less memory, more work.

    Returns
    -------
    carry
        The last one.
    ys
        What the iterations returned, stacked along a new axis 0.

    Raises
    ------
    ArgumentStructureError, ShapeError, DTypeError
        If the carry changes its structure, shapes or dtypes, or the xs differ in length.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.scan(lambda total, x: (total + x, total * x), 0.0, fg.asarray([1.0, 2.0, 3.0]))
    (Tensor(6.), Tensor([0., 2., 9.]))
    """
    with record_source():
        return _scan("scan", f, init, xs, length, reverse, checkpoint_every)


def _scan(
    of: str, f: Function, init: Any, xs: Any, length: int | None, reverse: bool, every: int | None
) -> tuple[Any, Any]:
    leaves, structure = pytree.flatten(init)
    rows_given, slice_structure = pytree.flatten(xs)
    columns = [as_tensor(leaf) for leaf in rows_given]
    trips = _length(of, columns, pytree.paths(slice_structure), length)
    if every is not None and (not isinstance(every, int) or every < 1):
        raise ShapeError(f"scan: checkpoint_every is {every!r}", remedy="take a positive integer")
    count = len(leaves)

    def arguments(tensors: Sequence[Tensor]) -> Sequence[Any]:
        carry = pytree.unflatten(structure, tensors[:count])
        return carry, pytree.unflatten(slice_structure, tensors[count:])

    rows = [TensorType(t.shape[1:], t.dtype) for t in columns]
    labels = [f"x{path}" for path in pytree.paths(slice_structure)]
    carried = Carried(of, leaves, structure)
    outside, closure, news = carried.record(f, arguments, rows, labels, _pair)
    counters = Counters(closure, outside)
    written = [(t, v) for t, v in outside.written.items() if t not in counters.steps]
    variables = [
        *closure.parameters[:count],
        *(v for _, v in written),
        *closure.parameters[count:],
        *counters.variables(),
    ]
    results = [*news, *(closure.writes[t] for t, _ in written), *closure.nodes[count:]]
    (body,), captured = closed_functions(variables, [counters.counted(results)], outside)
    starts = [*carried.nodes(), *(outside.read[t][1] for t, _ in written)]
    slices = [*(t._read() for t in columns), *counters.columns(trips, reverse)]
    nodes = _unrolled_scan(body, captured, starts, slices, trips, reverse, every)
    requires = carried.requires_grad() or outside.requires_grad()
    requires = requires or any(t.requires_grad for t in columns)
    total = count + len(written)
    writes = list(zip((t for t, _ in written), nodes[count:total], strict=True))
    writes += counters.writes(trips)
    tensors = finish([*nodes[:count], *nodes[total:]], requires, writes)
    y_structure = closure.structure.children[1]
    return (
        pytree.unflatten(structure, tensors[:count]),
        pytree.unflatten(y_structure, tensors[count:]),
    )


def _pair(closure: Closure) -> pytree.Structure:
    """The structure of the carry among the results of a body that returns (carry, y)."""
    children = closure.structure.children
    if len(children) != 2 or closure.structure.container not in (tuple, list):
        raise ArgumentStructureError(
            "scan: the function did not return a pair", remedy="return (carry, y); y may be None"
        )
    return children[0]


def _unrolled_scan(
    body: Body,
    consts: Sequence[Node],
    starts: Sequence[Node],
    columns: Sequence[Node],
    length: int,
    reverse: bool,
    every: int | None,
) -> list[Node]:
    """The results of a scan of any length; with `every`, as a scan of scans."""
    count = len(starts)
    if not length:
        empty = [build.full((0, *y.shape), 0, y.dtype) for y in body.results[count:]]
        return [*starts, *empty]
    if every is None or every >= length:
        scan_ = Scan(body, len(consts), count, length, reverse, False)
        return scan_results(scan_, [*consts, *starts, *columns])
    chunks, rest = divmod(length, every)
    whole = chunks * every
    carries, parts = list(starts), []
    for first in (False, True) if reverse else (True, False):
        if first:
            inner = _chunk(body, len(consts), count, every, reverse)
            scan_ = Scan(inner, len(consts), count, chunks, reverse, True)
            pieces = [_folded(_rows(x, 0, whole), chunks, every) for x in columns]
            found = scan_results(scan_, [*consts, *carries, *pieces])
            ys = [_flat(y, whole) for y in found[count:]]
        elif rest:
            scan_ = Scan(body, len(consts), count, rest, reverse, False)
            pieces = [_rows(x, whole, length) for x in columns]
            found = scan_results(scan_, [*consts, *carries, *pieces])
            ys = found[count:]
        else:
            continue
        carries = found[:count]
        parts.append(ys)
    if reverse:
        parts.reverse()
    return [*carries, *(build.concat(ys, 0) for ys in zip(*parts, strict=True))]


def _chunk(body: Body, consts: int, carries: int, length: int, reverse: bool) -> Body:
    """A scan over some iterations as the body of another."""
    fixed = consts + carries
    variables = [
        p if i < fixed else build.input_(TensorType((length, *p.shape), p.dtype))
        for i, p in enumerate(body.parameters)
    ]
    inner = Scan(body, consts, carries, length, reverse, False)
    return Body.of(variables, scan_results(inner, variables))


def _rows(x: Node, start: int, stop: int) -> Node:
    return build.slice_axis(x, 0, start, stop)


def _folded(x: Node, chunks: int, every: int) -> Node:
    return build.reshape(x, (chunks, every, *x.shape[1:]))


def _flat(x: Node, length: int) -> Node:
    return build.reshape(x, (length, *x.shape[2:]))


def _length(what: str, columns: Sequence[Tensor], paths: Sequence[str], length: int | None) -> int:
    """How many iterations the operands say."""
    found = None if length is None else operator.index(length)
    if found is not None and found < 0:
        raise ShapeError(f"{what}: length is {found}", remedy="take a length of 0 or more")
    for tensor, path in zip(columns, paths, strict=True):
        if not tensor.shape:
            raise ShapeError(
                f"{what}: xs{path} has no axis to take slices from",
                remedy="pass arrays whose axis 0 is that of the iterations",
            )
        if found is None:
            found = tensor.shape[0]
        if tensor.shape[0] != found:
            raise ShapeError(
                f"{what}: xs{path} has {tensor.shape[0]} slices, and not {found} as others, or "
                "length, say",
                remedy="pass arrays of equal length along axis 0",
            )
    if found is None:
        raise ShapeError(f"{what}: neither xs nor a length", remedy="pass length=")
    return found


def map(f: Function, xs: Any, *, batch_size: int | None = None) -> Any:
    """`f` of every slice of `xs`, one after the other.

    `vmap` computes the same for all slices at once; this takes no more memory than one slice needs.

    Parameters
    ----------
    f : callable
        Of one slice along axis 0.
    xs : array_like, or containers of them
    batch_size : int, optional
        Compute so many slices at once.

    Returns
    -------
    Tensor, or containers of them
        The results, stacked along a new axis 0.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.map(lambda x: x.sum(), fg.asarray([[1.0, 2.0], [3.0, 4.0]]))
    Tensor([3., 7.])
    """
    if batch_size is None:
        return scan(lambda _, x: ((), f(x)), (), xs)[1]
    leaves, structure = pytree.flatten(xs)
    columns = [as_tensor(leaf) for leaf in leaves]
    count = _length("map", columns, pytree.paths(structure), None)
    size = operator.index(batch_size)
    if size < 1:
        raise ShapeError(f"map: batch_size is {size}", remedy="take a positive integer")
    whole = count // size * size
    parts = []
    if whole:
        batches = [x[:whole].reshape((whole // size, size, *x.shape[1:])) for x in columns]
        several = map(vmap(f), pytree.unflatten(structure, batches))
        found, shape = pytree.flatten(several)
        parts.append([y.reshape((whole, *y.shape[2:])) for y in found])
    if whole < count or not whole:
        rest = vmap(f)(pytree.unflatten(structure, [x[whole:] for x in columns]))
        found, shape = pytree.flatten(rest)
        parts.append(list(found))
    return pytree.unflatten(shape, [concat(list(ys), 0) for ys in zip(*parts, strict=True)])


# --- loops on a condition -------------------------------------------------------------------------


def while_loop(
    cond_fun: Function, body_fun: Function, init_val: Any, max_iterations: int | None = None
) -> Any:
    """A loop that runs as long as a condition holds.

    It computes what this does, in native code when compiled::

        value = init_val
        while cond_fun(value):
            value = body_fun(value)
        return value

    Parameters
    ----------
    cond_fun : callable
        Of the value, to one bool.
    body_fun : callable
        Of the value, to a value of the same structure, shapes and dtypes.
    init_val : array_like, or containers of them
    max_iterations : int, optional
        Stop after so many iterations, without a word: ``cond_fun`` of the result says whether it
        was too early. Only then has the loop a gradient: what so many iterations need is stored.

    Returns
    -------
    Tensor, or containers of them
        The first value for which the condition does not hold.

    Raises
    ------
    ArgumentStructureError, ShapeError, DTypeError
        If the value changes its structure, shapes or dtypes, or the condition is not one bool.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.while_loop(lambda x: x < 100.0, lambda x: x * 3.0, 1.0)
    Tensor(243.)
    """
    with record_source():
        return _while("while_loop", cond_fun, body_fun, init_val, max_iterations)


def _while(of: str, test: Function, body: Function, init: Any, most: int | None) -> Any:
    leaves, structure = pytree.flatten(init)

    def arguments(tensors: Sequence[Tensor]) -> Sequence[Any]:
        return (pytree.unflatten(structure, tensors),)

    carried = Carried(of, leaves, structure)
    outside, closure, news = carried.record(body, arguments, (), (), lambda c: c.structure)
    condition = recorded(test, arguments, carried.types, carried.labels, outside)
    goes_on = _condition(condition)
    (goes_on,) = _over(closure.parameters, condition.parameters, [goes_on])
    written = list(outside.written.items())
    variables = [*closure.parameters, *(v for _, v in written)]
    results = [*news, *(closure.writes.get(t, v) for t, v in written)]
    functions, captured = closed_functions(variables, [[goes_on], results], outside)
    starts = [*carried.nodes(), *(outside.read[t][1] for t, _ in written)]
    if most is None:
        loop = Node(While(functions[0], functions[1], len(captured)), (*captured, *starts))
        nodes = [item(loop, i) for i in range(len(starts))]
    else:
        bounded = _guarded(functions[0], functions[1], len(captured))
        trips = operator.index(most)
        nodes = _unrolled_scan(bounded, captured, starts, [], max(trips, 0), False, None)
    count = len(leaves)
    requires = carried.requires_grad() or outside.requires_grad()
    writes = list(zip((t for t, _ in written), nodes[count:], strict=True))
    return pytree.unflatten(structure, finish(nodes[:count], requires, writes))


def _condition(closure: Closure) -> Node:
    """The node of a condition, which is one bool."""
    shown = ", ".join(str(node.type) for node in closure.nodes)
    if closure.structure is not pytree.LEAF or closure.nodes[0].type != TensorType((), bool_):
        raise ShapeError(
            f"while_loop: the condition returned {shown or 'nothing'}, not one bool",
            where=where(closure.nodes[0]) if closure.nodes else None,
            remedy="compare, and reduce with fg.any or fg.all",
        )
    if closure.writes:
        raise ArgumentStructureError(
            "while_loop: the condition writes to a tensor", remedy="do that in the body"
        )
    return closure.nodes[0]


def _guarded(test: Body, body: Body, consts: int) -> Body:
    """An iteration that changes nothing once the condition does not hold."""
    parameters = body.parameters
    (goes_on,) = test.results
    same = Body(parameters, parameters[consts:])
    chosen = Node(Switch((same, body)), (build.cast(goes_on, int64), *parameters))
    return Body(parameters, tuple(item(chosen, i) for i in range(len(body.results))))


def fori_loop(lower: Any, upper: Any, body_fun: Function, init_val: Any) -> Any:
    """A loop over the integers from `lower` to `upper`, without `upper`.

    It computes what this does::

        value = init_val
        for i in range(lower, upper):
            value = body_fun(i, value)
        return value

    Parameters
    ----------
    lower, upper : int or Tensor
        With Python integers the loop has gradients.
    body_fun : callable
        Of an int64 scalar and the value, to a value of the same structure, shapes and dtypes.
    init_val : array_like, or containers of them

    Returns
    -------
    Tensor, or containers of them

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.fori_loop(1, 5, lambda i, x: x * i, 1)
    Tensor(24)
    """

    def step(state: tuple[Tensor, Any]) -> tuple[Tensor, Any]:
        return state[0] + 1, body_fun(*state)

    name = "fori_loop"
    if _is_integer(lower) and _is_integer(upper):
        first, trips = operator.index(lower), max(operator.index(upper) - operator.index(lower), 0)
        with record_source():
            body = lambda state, _: (step(state), None)  # noqa: E731
            return _scan(name, body, (first, init_val), None, trips, False, None)[0][1]
    start, stop = (_integer(name, "a bound", bound) for bound in (lower, upper))
    with record_source():
        return _while(name, lambda state: state[0] < stop, step, (start, init_val), None)[1]


def _is_integer(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _integer(what: str, which: str, value: Any) -> Tensor:
    """An integer scalar as int64."""
    tensor = as_tensor(value)
    if not tensor.dtype.is_integer or tensor.shape:
        raise DTypeError(
            f"{what}: {which} is {tensor._type}, not one integer",
            remedy="pass an integer, or a tensor of one with shape ()",
        )
    return tensor.astype(int64)


# --- branches -------------------------------------------------------------------------------------


def cond(pred: Any, true_fun: Function, false_fun: Function, *operands: Any) -> Any:
    """One of two functions, by a condition that may be a traced value.

    Only the chosen one runs; both do under `vmap`, if the condition differs between the elements.
    Both are recorded, so both are called once.

    Parameters
    ----------
    pred : bool or Tensor
        One bool, or a number that is not 0. For one of Python's the other function is not even
        recorded.
    true_fun, false_fun : callable
        Of the operands, to results of the same structure, shapes and dtypes.
    *operands : array_like, or containers of them

    Returns
    -------
    Tensor, or containers of them

    Examples
    --------
    >>> import fusegrad as fg
    >>> x = fg.asarray(-2.0)
    >>> fg.cond(x > 0, lambda x: x, lambda x: -3.0 * x, x)
    Tensor(6.)
    """
    if isinstance(pred, (bool, np.bool_, int, float)):
        return true_fun(*operands) if pred else false_fun(*operands)
    tensor = as_tensor(pred)
    if tensor.shape:
        raise ShapeError(
            f"cond: the condition is {tensor._type}, not one bool",
            remedy="reduce it with fg.any or fg.all",
        )
    if tensor.dtype is not bool_:
        tensor = tensor != 0
    with record_source():
        return _choose("cond", tensor.astype(int64), (false_fun, true_fun), operands)


def switch(index: Any, branches: Sequence[Function], *operands: Any) -> Any:
    """One of several functions, by a number that may be a traced value.

    Only the chosen one runs. All are recorded, so all are called once.

    Parameters
    ----------
    index : int or Tensor
        One integer. One that is out of range means the nearest branch.
    branches : sequence of callable
        Of the operands, to results of the same structure, shapes and dtypes.
    *operands : array_like, or containers of them

    Returns
    -------
    Tensor, or containers of them

    Examples
    --------
    >>> import fusegrad as fg
    >>> branches = [lambda x: x, lambda x: x * 10, lambda x: x * 100]
    >>> fg.switch(fg.asarray(1), branches, 3.0), fg.switch(7, branches, 3.0)
    (Tensor(30.), 300.0)
    """
    functions = tuple(branches)
    if not functions:
        raise ArgumentStructureError("switch: no branches", remedy="pass at least one")
    if _is_integer(index):
        return functions[min(max(operator.index(index), 0), len(functions) - 1)](*operands)
    number = _integer("switch", "the index", index)
    with record_source():
        return _choose("switch", number, functions, operands)


def _choose(
    what: str, index: Tensor, functions: Sequence[Function], operands: tuple[Any, ...]
) -> Any:
    leaves, structure = pytree.flatten(operands)
    # Python numbers and other values are the same in every branch.
    places = [i for i, leaf in enumerate(leaves) if hasattr(leaf, "shape")]
    tensors = [as_tensor(leaves[i]) for i in places]
    paths = pytree.paths(structure)
    labels = [f"the operand {paths[i]} of {what}" for i in places]

    def arguments(given: Sequence[Tensor]) -> Sequence[Any]:
        filled = list(leaves)
        for place, tensor in zip(places, given, strict=True):
            filled[place] = tensor
        return pytree.unflatten(structure, filled)  # type: ignore[no-any-return]

    outside = Outside(what)
    types = [t._type for t in tensors]
    closures = [recorded(f, arguments, types, labels, outside) for f in functions]
    first = closures[0]
    written = list(outside.written.items())
    results = []
    for closure, nodes in zip(closures, _agreed(what, closures), strict=True):
        nodes = [*nodes, *(closure.writes.get(t, v) for t, v in written)]
        results.append(_over(first.parameters, closure.parameters, nodes))
    variables = [*first.parameters, *(v for _, v in written)]
    branches, captured = closed_functions(variables, results, outside, hoist=False)
    starts = [*(t._read() for t in tensors), *(outside.read[t][1] for t, _ in written)]
    node = Node(Switch(tuple(branches)), (index._read(), *captured, *starts))
    nodes = [item(node, i) for i in range(len(results[0]))]
    count = len(first.nodes)
    requires = outside.requires_grad() or any(t.requires_grad for t in tensors)
    writes = list(zip((t for t, _ in written), nodes[count:], strict=True))
    return pytree.unflatten(first.structure, finish(nodes[:count], requires, writes))


def _over(new: Sequence[Node], old: Sequence[Node], nodes: Sequence[Node]) -> list[Node]:
    """Nodes over some variables as nodes over others."""
    return substitute(nodes, dict(zip(old, new, strict=True)))


def _agreed(what: str, closures: Sequence[Closure]) -> list[list[Node]]:
    """The results of all branches, in the same types; Python numbers adopt those of the others."""
    first = closures[0]
    names = [f"branch {i}" for i in range(len(closures))]
    if what == "cond":
        names = ["false_fun", "true_fun"]
    for name, closure in zip(names[1:], closures[1:], strict=True):
        difference = difference_of("result", first.structure, closure.structure)
        if difference is not None:
            raise ArgumentStructureError(
                f"{what}: {names[0]} and {name} return different structures: {difference}",
                remedy="return the same containers from every branch",
            )
    paths = pytree.paths(first.structure)
    columns = []
    for i, path in enumerate(paths):
        nodes = [closure.nodes[i] for closure in closures]
        strong = [n for n, c in zip(nodes, closures, strict=True) if not c.weak[i]]
        kind = (strong or nodes)[0].dtype
        nodes = [
            build.cast(n, kind) if c.weak[i] else n for n, c in zip(nodes, closures, strict=True)
        ]
        for name, node in zip(names, nodes, strict=True):
            if node.type.plain != nodes[0].type.plain:
                raise (ShapeError if node.shape != nodes[0].shape else DTypeError)(
                    f"{what}: result{path} is {nodes[0].type} in {names[0]}, {node.type} in {name}",
                    where=where(node),
                    remedy="return the same shapes and dtypes from every branch",
                )
        columns.append(nodes)
    return [[column[number] for column in columns] for number in range(len(closures))]
