"""Rows that a team reads several times, kept in registers from the first time on.

Knows loops that are dealt to threads; knows no launches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..expr import Buffer, Expr, Load, Var, walk
from ..kernel import Alloc, Dealt, For, Let, Stmt, Store
from .rewrite import expressions, replaced, substitute

__all__ = ["keep_rows"]

Key = tuple[Buffer, tuple[Expr, ...], int, Dealt]


def keep_rows(
    statements: Sequence[Stmt], inputs: set[Buffer], width: int, most: int
) -> tuple[Stmt, ...]:
    """The statements with loads that several loops have in common done once.

    Parameters
    ----------
    statements : sequence of Stmt
        With loops that are dealt to the threads of a team.
    inputs : set of Buffer
        What is only read.
    width : int
        Threads of the team.
    most : int
        Elements that a thread may keep.
    """
    statements = [
        replace(s, body=keep_rows(s.body, inputs, width, most))
        if isinstance(s, For) and not isinstance(s.mapping, Dealt)
        else s
        for s in statements
    ]
    loops = [s for s in statements if isinstance(s, For) and _is_plain(s)]
    places = {s.extent: Var("c", extent=s.extent) for s in loops if isinstance(s.extent, int)}
    users: dict[Key, list[int]] = {}
    for number, s in enumerate(statements):
        if _is_plain(s):
            assert isinstance(s, For)
            for load in _loads(s, inputs):
                users.setdefault(_key(load, s, places), []).append(number)
    chosen = [key for key, numbers in users.items() if len(set(numbers)) > 1]
    each = [-(-extent // (width * m.lanes)) * m.lanes for _, _, extent, m in chosen]
    if not chosen or sum(each) > most:
        return tuple(statements)
    kept = {
        key: Buffer(f"{key[0].name}_row", key[0].dtype, (key[2],), space="row") for key in chosen
    }
    first = {key: min(users[key]) for key in chosen}
    result: list[Stmt] = []
    for number, s in enumerate(statements):
        if _is_plain(s):
            assert isinstance(s, For)
            result += [Alloc(kept[key]) for key in chosen if first[key] == number]
            s = _with_rows(s, number, kept, first, inputs, places)
        result.append(s)
    return tuple(result)


def _is_plain(s: Stmt) -> bool:
    """Whether a loop is dealt, of known extent, with nothing but values and stores in it."""
    return (
        isinstance(s, For)
        and isinstance(s.mapping, Dealt)
        and isinstance(s.extent, int)
        and all(isinstance(x, (Let, Store)) for x in s.body)
    )


def _loads(loop: For, inputs: set[Buffer]) -> list[Load]:
    """Loads of inputs in a loop, at places that its variable and what is outside of it say."""
    bound = {s.var for s in loop.body if isinstance(s, Let)}
    found: dict[Load, None] = {}
    for s in (*loop.body, replace(loop, body=())):
        for root in expressions(s):
            for e in walk(root):
                if isinstance(e, Load) and e.buffer in inputs:
                    inside = {x for i in e.indices for x in walk(i)}
                    plain = not any(isinstance(x, Load) for x in inside)
                    if plain and loop.var in inside and not inside & bound:
                        found[e] = None
    return list(found)


def _key(load: Load, loop: For, places: dict[int, Var]) -> Key:
    assert isinstance(loop.extent, int)
    assert isinstance(loop.mapping, Dealt)
    moved = tuple(replaced(i, {loop.var: places[loop.extent]}) for i in load.indices)
    return load.buffer, moved, loop.extent, replace(loop.mapping, unroll=1)


def _with_rows(
    loop: For,
    number: int,
    kept: dict[Key, Buffer],
    first: dict[Key, int],
    inputs: set[Buffer],
    places: dict[int, Var],
) -> For:
    values: dict[Load, Expr] = {}
    ahead: list[Stmt] = []
    for load in _loads(loop, inputs):
        key = _key(load, loop, places)
        if key not in kept:
            continue
        if first[key] != number:
            values[load] = Load(kept[key], (loop.var,))
            continue
        value = Var("value", load.dtype)
        values[load] = value
        ahead += [Let(value, load), Store(kept[key], (loop.var,), value)]
    if not values:
        return loop
    (changed,) = substitute((loop,), values)
    assert isinstance(changed, For)
    return replace(changed, body=(*ahead, *changed.body))
