"""Scalar expressions as registers: each value once, as far outside as its operands allow.

Knows the scalar table and the levels of the function; knows no statements.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import ClassVar, final

from ..dtypes import DType, bool_, int32, int64
from ..expr import Apply, Buffer, Const, Expr, Load, Var, walk
from ..scalar import expand
from .base import Features
from .llvm_address import lane_numbers
from .llvm_builder import Region, Value
from .llvm_memory import Memory
from .llvm_scalar import PRIMITIVES, Rule, Site

__all__ = ["Values"]


@final
class _Template:
    """The steps of an expansion in terms of parameters, planned once for each op and dtypes."""

    __slots__ = ("parameters", "steps")

    def __init__(self, parameters: tuple[Var, ...], steps: list[Step]) -> None:
        self.parameters = parameters
        self.steps = steps


Step = tuple[Expr, "Rule | _Template | None", list[int]]
"""A value, how it comes from the values of other steps (by number), and their numbers.

Without a rule it is a leaf (no numbers), or a `rare` (two), whose third operand is left for later.
"""

_TEMPLATES: dict[tuple[str, tuple[DType, ...], DType, bool], _Template] = {}
_OUTLINED: dict[tuple[int, int, Features], tuple[Expr, str, frozenset[str]]] = {}


def _template(e: Apply, single: bool) -> _Template:
    key = (e.op, tuple(a.dtype for a in e.args), e.dtype, single)
    found = _TEMPLATES.get(key)
    if found is None:
        parameters = tuple(Var(f"p{n}", d) for n, d in enumerate(key[1]))
        body = expand(Apply(e.op, parameters, e.dtype), single)
        if body is None:
            raise TypeError(f"no code for the scalar op {e.op}")
        found = _TEMPLATES[key] = _Template(parameters, _steps(body, single))
    return found


def _steps(expr: Expr, single: bool) -> list[Step]:
    """Every value that `expr` needs, operands first; with `single` no float64 for float32."""
    steps: list[Step] = []
    numbers: dict[Expr, int] = {}
    stack = [expr]
    while stack:
        e = stack[-1]
        if e in numbers:
            stack.pop()
            continue
        rule: Rule | _Template | None = None
        needed: tuple[Expr, ...] = ()
        if isinstance(e, Apply):
            rule = PRIMITIVES.get(e.op)
            needed = e.args[:2] if e.op == "rare" else e.args
            if rule is None and e.op != "rare":
                rule = _template(e, single)
        missing = [a for a in needed if a not in numbers]
        if missing:
            missing.reverse()
            stack.extend(missing)
            continue
        stack.pop()
        numbers[e] = len(steps)
        steps.append((e, rule, [numbers[a] for a in needed]))
    return steps


def _has_branch(steps: Sequence[Step]) -> bool:
    return any(
        (rule is None and len(operands) == 2)
        or (isinstance(rule, _Template) and _has_branch(rule.steps))
        for _, rule, operands in steps
    )


class Values(Memory):
    """Expressions, on top of loads."""

    single: ClassVar[bool] = False
    """Whether functions of float32 use no float64."""

    def __init__(self, target: Features) -> None:
        super().__init__(target)
        self._plans: dict[Expr, list[Step]] = {}

    def bind(self, var: Var, value: Value) -> None:
        """Give `var` a value until the innermost level closes."""
        self.memo[var] = value
        self.levels[-1].keys.append(var)

    def let(self, var: Var, expr: Expr) -> None:
        """Bind `var` to the value that `expr` has now."""
        value = self.value(expr)
        if value.reads:
            value = Value(value.text, value.dtype, value.lanes, self.depth, value.constant)
        elif var.dtype is int64:
            self.lets[var] = expr
        self.bind(var, value)

    def value(self, expr: Expr) -> Value:
        """The register that holds `expr`; its code is written if it was not yet."""
        memo = self.memo
        known = memo.get(expr)
        if known is not None:
            return known
        values: list[Value] = []
        for e, rule, operands in self._plans.get(expr) or self._plan(expr):
            value = memo.get(e)
            if value is None:
                given = [values[k] for k in operands]
                narrow = self._narrow(e) if isinstance(e, Apply) and e.op == "cast" else None
                if narrow is not None:
                    value = narrow
                elif isinstance(rule, _Template):
                    value = self._from_template(rule, given)
                elif rule is not None:
                    value = self._apply(e, rule, given)
                elif operands:
                    leaves = [x for x in walk(e.args[2]) if isinstance(x, (Var, Load))]  # type: ignore[attr-defined]
                    value = self._rare(e, given[0], given[1], leaves, [*map(self.value, leaves)])
                else:
                    value = self._leaf(e)
                self.remember(e, value)
            values.append(value)
        return values[-1]

    def _from_template(self, template: _Template, given: Sequence[Value]) -> Value:
        """The code of an expansion; what is inside is not remembered, its result is."""
        values: list[Value] = []
        for e, rule, operands in template.steps:
            if rule is not None:
                parts = [values[k] for k in operands]
                if isinstance(rule, _Template):
                    value = self._from_template(rule, parts)
                else:
                    value = self._apply(e, rule, parts)
            elif operands:
                leaves, known = template.parameters, given
                value = self._rare(e, values[operands[0]], values[operands[1]], leaves, known)
            elif isinstance(e, Const):
                value = self.constant(e.value, e.dtype)
            else:
                value = given[template.parameters.index(e)]
            values.append(value)
        return values[-1]

    def _plan(self, expr: Expr) -> list[Step]:
        """Every value that `expr` needs, operands first; written once and used for each copy."""
        steps = _steps(expr, self.single)
        self._plans[expr] = steps
        return steps

    def branches(self, expr: Expr) -> bool:
        """Whether the code of `expr` has a branch."""
        return _has_branch(self._plans.get(expr) or self._plan(expr))

    def _leaf(self, e: Expr) -> Value:
        if isinstance(e, Const):
            if e.origin is not None:
                return self.sized(e.origin, e.dtype)
            return self.constant(e.value, e.dtype)
        if isinstance(e, Load):
            return self.load(e)
        if isinstance(e, Var):
            return self._variable(e)
        raise TypeError(f"no code for {e!r}")

    def _variable(self, var: Var) -> Value:
        """A loop variable: a number, a counter plus a number, or one value for each lane."""
        if var not in self.replaced:
            raise ValueError(f"variable {var.name} is not bound here")
        base, offset, depth = self.replaced[var]
        vector = self.vector
        if vector is not None and vector.var is var:
            lanes = vector.lanes
            kind = f"<{lanes} x i64>"
            numbers = lane_numbers(lanes, offset)
            if base is not None:
                first = self.operand(self.value(base), lanes)
                numbers = self.emit(f"add nsw {kind} {first}, {numbers}", vector.depth)
            return Value(numbers, int64, lanes, vector.depth)
        if base is None:
            value = self.constant(offset, int64)
            value.depth = depth
            return value
        start = self.value(base)
        return Value(self._count(start, offset), int64, 0, depth)

    def _narrow(self, e: Apply) -> Value | None:
        """The variable of the vector loop as int32, computed in int32; None for other casts."""
        vector = self.vector
        (var,) = e.args
        if vector is None or var is not vector.var or e.dtype is not int32:
            return None
        base, offset, _ = self.replaced[vector.var]
        numbers = lane_numbers(vector.lanes, offset, "i32")
        if base is not None:
            start = self.value(base)
            first = self.emit(f"trunc i64 {start.text} to i32", start.depth)
            scalar = Value(first, int32, 0, start.depth)
            kind = f"<{vector.lanes} x i32>"
            wide = self.operand(scalar, vector.lanes)
            numbers = self.emit(f"add {kind} {wide}, {numbers}", vector.depth)
        return Value(numbers, int32, vector.lanes, vector.depth)

    def _count(self, start: Value, offset: int) -> str:
        if not offset:
            return start.text
        return self.emit(f"add nsw i64 {start.text}, {offset}", start.depth)

    def _apply(self, e: Expr, rule: Rule, values: list[Value]) -> Value:
        lanes = 0
        depth = self.pure_barrier
        reads = values[0].reads
        for v in values:
            if v.lanes > lanes:
                lanes = v.lanes
            if v.depth > depth:
                depth = v.depth
            if v.reads and v.reads is not reads:
                reads = reads | v.reads
        assert isinstance(e, Apply)
        operands = [v.text if v.lanes == lanes else self.operand(v, lanes) for v in values]
        text = rule(Site(self, lanes, depth), e, operands)
        return Value(text, e.dtype, lanes, depth, reads=reads)

    def _rare(
        self,
        e: Expr,
        condition: Value,
        usual: Value,
        leaves: Sequence[Expr],
        known: Sequence[Value],
    ) -> Value:
        """``select(condition, unusual, usual)``, `unusual` computed when some lane needs it.

        `unusual` is computed from `leaves`, whose values are `known`.
        """
        assert isinstance(e, Apply)
        inputs = [condition, usual, *known]
        depth = max(self.pure_barrier, *(v.depth for v in inputs))
        lanes = max(v.lanes for v in inputs)
        reads = frozenset[Buffer]().union(*(v.reads for v in inputs))
        some = self.any_lane(condition, depth)
        outside = self.operand(usual, lanes)
        arguments = [self.operand(v, lanes) for v in known]
        name = self.begin_if(pure=True)
        unusual = self.emit(self._outlined(e.args[2], leaves, lanes, arguments))
        site = Site(self, lanes, self.depth)
        inside = site.select(self.operand(condition, lanes), e.dtype, unusual, outside)
        kind = self.type_of(e.dtype, lanes)
        (text,) = self.end_if(name, some, [(kind, inside, outside)], depth)
        return Value(text, e.dtype, lanes, depth, reads=reads)

    def _outlined(
        self, e: Expr, leaves: Sequence[Expr], lanes: int, arguments: Sequence[str]
    ) -> str:
        """A call of a function of its own that computes `e`: long code that seldom runs."""
        key = (id(e), lanes, self.target)
        found = _OUTLINED.get(key)
        if found is None:
            # The expression is kept, so that its number stays its own.
            found = _OUTLINED[key] = (e, *self._outline(e, leaves, lanes))
        _, name, lines = found
        self.declarations |= lines
        kinds = [self.type_of(leaf.dtype, lanes) for leaf in leaves]
        given = ", ".join(f"{k} {a}" for k, a in zip(kinds, arguments, strict=True))
        return f"call {self.type_of(e.dtype, lanes)} @{name}({given})"

    def _outline(self, e: Expr, leaves: Sequence[Expr], lanes: int) -> tuple[str, frozenset[str]]:
        """The function's name, which says what it does, and the lines a module needs for it.

        The function is one line, so that a module can leave out the second of two equal ones.
        """
        inner = (_SingleValues if self.single else Values)(self.target)
        inner.open(Region("entry"))
        kinds = [self.type_of(leaf.dtype, lanes) for leaf in leaves]
        for number, leaf in enumerate(leaves):
            inner.memo[leaf] = Value(f"%a{number}", leaf.dtype, lanes, 0)
        result = inner.operand(inner.value(e), lanes)
        kind = self.type_of(e.dtype, lanes)
        parameters = ", ".join(f"{k} %a{n}" for n, k in enumerate(kinds))
        lines = inner.levels[0].region.lines
        body = f"({parameters}) noinline {self.attributes} {{ entry: "
        body += " ".join([*(line.strip() for line in lines), f"ret {kind} {result} }}"])
        name = "fg.rare." + hashlib.sha256(f"{kind} {body}".encode()).hexdigest()[:16]
        return name, frozenset({*inner.declarations, f"define internal {kind} @{name}{body}"})

    def any_lane(self, condition: Value, depth: int | None = None) -> str:
        """Whether `condition` holds in some lane, as a scalar bit."""
        if not condition.lanes:
            return condition.text
        lanes = condition.lanes
        kind = self.type_of(bool_, lanes)
        bits = self.emit(f"bitcast {kind} {condition.text} to i{lanes}", depth)
        return self.emit(f"icmp ne i{lanes} {bits}, 0", depth)


class _SingleValues(Values):
    """What stands in a function beside such a kernel."""

    single = True
