"""The stubs of what is made of the elementwise table: for type checkers and editors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import fusegrad as fg
from fusegrad.functions import elementwise, elementwise_special
from fusegrad.ops.elementwise import FUNCTIONS, SPECIAL, Function

ROOT = Path(fg.__file__).parent
REMEDY = "write it anew with: pytest tests/api/test_stubs.py --update-golden"

FUNCTION_HEAD = "from ..tensors.tensor_class import ArrayLike, Tensor\n"
METHOD_HEAD = """from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

from ..ops.elementwise import Function

TensorT = TypeVar("TensorT")

class ElementwiseMethods(ABC, Generic[TensorT]):
    __slots__ = ()
    @abstractmethod
    def _unary(self, function: Function) -> TensorT: ...
    @staticmethod
    @abstractmethod
    def _binary(function: Function, a: Any, b: Any) -> TensorT: ...
    @abstractmethod
    def _update(self, result: TensorT) -> TensorT: ...
    def _with(self, function: Function, other: Any) -> TensorT: ...
"""


def natural(name: str) -> list[str | int]:
    """As ruff sorts: numbers by their value."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def functions(rows: Iterable[Function]) -> Iterator[str]:
    names = sorted((name for row in rows for name in row.names), key=natural)
    yield "\n__all__ = [\n" + "".join(f'    "{name}",\n' for name in names) + "]\n\n"
    for row in rows:
        operands = ("x",) if len(row.ranges) == 1 else ("x1", "x2")
        parameters = ", ".join(f"{name}: ArrayLike" for name in operands)
        yield f'def {row.name}({parameters}) -> Tensor:\n    """{row.public.summary}"""\n\n'
    for row in rows:
        for alias in row.public.aliases:
            yield f"{alias} = {row.name}\n"


def methods() -> Iterator[str]:
    for row in FUNCTIONS.values():
        if not row.methods:
            continue
        first, *others = row.methods
        operand = "" if len(row.ranges) == 1 else ", other: Any"
        for end in ("", "_") if row.public.in_place else ("",):
            yield f"    def {first}{end}(self{operand}) -> TensorT:\n"
            yield f'        """{row.public.summary}"""\n\n'
            yield from (f"    {alias}{end} = {first}{end}\n" for alias in others)


STUBS = {
    "functions/elementwise.pyi": FUNCTION_HEAD + "".join(functions(FUNCTIONS.values())),
    "functions/elementwise_special.pyi": FUNCTION_HEAD + "".join(functions(SPECIAL.values())),
    "tensors/elementwise_methods.pyi": METHOD_HEAD + "".join(methods()),
}


@pytest.mark.parametrize("name", STUBS)
def test_stub_is_up_to_date(name: str, request: pytest.FixtureRequest) -> None:
    file, text = ROOT / name, f"# Made of the elementwise table: {REMEDY}\n\n{STUBS[name]}"
    text = text.rstrip("\n") + "\n"
    if request.config.getoption("--update-golden"):
        file.write_text(text)
    assert file.exists(), REMEDY
    assert file.read_text() == text, f"{name} is not what the table has; {REMEDY}"


def test_every_row_is_public() -> None:
    for table, module, namespace in (
        (FUNCTIONS, elementwise, fg),
        (SPECIAL, elementwise_special, fg.special),
    ):
        for row in table.values():
            function = getattr(module, row.name)
            assert function.__doc__.startswith(row.public.summary)
            for name in row.names:
                assert getattr(namespace, name) is function
                assert name in namespace.__all__
            for name in row.methods:
                assert callable(getattr(fg.Tensor, name)), name
