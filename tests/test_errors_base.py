"""The form of error messages, and the user's line that they name."""

from __future__ import annotations

import dataclasses
import inspect
import pickle
from pathlib import Path

import numpy as np
import pytest

import fusegrad.errors as errors
from fusegrad.errors import FusegradError, ShapeError, SourceLine, TracedValueError, user_frame

CLASSES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, FusegradError) and value is not FusegradError
]
HERE = Path(__file__).read_text().splitlines()


def line_of(text: str) -> int:
    (line,) = (i for i, source in enumerate(HERE, 1) if source.strip() == text)
    return line


def test_message_has_what_where_and_remedy() -> None:
    with pytest.raises(ShapeError) as caught:
        raise ShapeError("shapes (3, 4) and (4, 3)", remedy="transpose one")
    line = line_of('raise ShapeError("shapes (3, 4) and (4, 3)", remedy="transpose one")')
    assert str(caught.value) == (
        "shapes (3, 4) and (4, 3) [FG101]\n"
        f"  at {__file__}:{line} in test_message_has_what_where_and_remedy: "
        'raise ShapeError("shapes (3, 4) and (4, 3)", remedy="transpose one")\n'
        "  remedy: transpose one"
    )


def test_a_remedy_of_the_class() -> None:
    text = str(TracedValueError("bool() of a traced value", where=None))
    assert text == (
        "bool() of a traced value [FG201]\n"
        "  remedy: choose between values with fg.where, use fg functions in place of NumPy's, "
        "or return the value and look at it outside"
    )


def test_a_message_of_several_lines_has_the_code_in_the_first() -> None:
    assert str(ShapeError("a\n  b", where=None)) == "a [FG101]\n  b"


def test_a_file_that_cannot_be_read() -> None:
    error = ShapeError("no", where=SourceLine("<stdin>", 1, "<module>"))
    assert str(error) == "no [FG101]\n  at <stdin>:1 in <module>"


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_each_class_has_a_page(cls: type[FusegradError]) -> None:
    page = inspect.getdoc(cls) or ""
    assert "The way out:" in page
    assert "The situation" in page or cls is errors.InternalError
    assert cls.__name__ in errors.__all__


def test_codes_are_unique() -> None:
    codes = [cls.__dict__["code"] for cls in CLASSES]
    assert len(set(codes)) == len(codes)
    assert all(len(code) == 5 and code[:2] == "FG" for code in codes)


@pytest.mark.parametrize(
    ("cls", "builtin"),
    [
        (errors.ShapeError, ValueError),
        (errors.AxisError, ValueError),
        (errors.AxisError, IndexError),
        (errors.DTypeError, TypeError),
        (errors.IndexBoundsError, IndexError),
        (errors.TracedValueError, TypeError),
        (errors.ArgumentStructureError, TypeError),
        (errors.EmptyReductionError, ValueError),
        (errors.DeviceError, ValueError),
        (errors.OutOfMemoryError, MemoryError),
        (errors.OutOfMemoryError, errors.DeviceError),
        (errors.GradientError, RuntimeError),
    ],
)
def test_builtin_bases(cls: type[FusegradError], builtin: type[Exception]) -> None:
    assert issubclass(cls, builtin)


def test_pickle() -> None:
    error = ShapeError("no", where=SourceLine("a.py", 3, "f"), remedy="yes")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is ShapeError
    assert str(again) == str(error)


def test_user_frame_is_here() -> None:
    found = user_frame()
    assert found == SourceLine(__file__, line_of("found = user_frame()"), "test_user_frame_is_here")
    assert found.text == "found = user_frame()"


def run_as(file: str, source: str, **names: object) -> dict[str, object]:
    """Run source text as if it stood in a file."""
    namespace: dict[str, object] = {"__name__": errors.__name__, **names}
    exec(compile(source, file, "exec"), namespace)
    return namespace


def test_user_frame_skips_the_package() -> None:
    package = Path(errors.__file__).parent
    codegen = package.parent / "codegen"
    source = "def call(f):\n    return f()\n"
    inner = run_as(str(package / "ops" / "pretended.py"), source)["call"]
    outer = run_as(str(codegen / "pretended.py"), source)["call"]
    found = outer(lambda: inner(user_frame))
    assert found is not None
    assert found.file == __file__
    direct = inner(user_frame)
    assert direct.function == "test_user_frame_skips_the_package"


def test_user_frame_skips_generated_methods_of_the_package() -> None:
    package = Path(errors.__file__).parent
    source = (
        "@dataclasses.dataclass\nclass Node:\n    x: int\n"
        "    def __post_init__(self):\n        self.where = user_frame()\n"
    )
    names = run_as(
        str(package / "pretended.py"), source, dataclasses=dataclasses, user_frame=user_frame
    )
    assert names["Node"](1).where.file == __file__


def test_user_frame_is_the_same_object_each_time() -> None:
    assert len({id(user_frame()) for _ in range(3)}) == 1


def test_user_frame_in_text_without_a_file() -> None:
    names = run_as("<string>", "def f():\n    return g()\n", __name__="__main__", g=user_frame)
    assert names["f"]() == SourceLine("<string>", 2, "f")


def test_user_frame_tells_lines_of_one_function_apart() -> None:
    first = user_frame()
    second = user_frame()
    assert first is not None
    assert second is not None
    assert second.line == first.line + 1


def test_source_lines_are_values() -> None:
    assert SourceLine("a", 1, "f") == SourceLine("a", 1, "f")
    with pytest.raises(dataclasses.FrozenInstanceError):
        SourceLine("a", 1, "f").line = 2
    assert np.unique([hash(SourceLine("a", 1, "f")) for _ in range(2)]).size == 1
