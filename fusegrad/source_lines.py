"""The user's source line: what messages name and recorded operations remember.

Knows which frames are the package's own.
"""

from __future__ import annotations

import linecache
import os
import sys
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import final

from . import codegen

__all__ = ["SourceLine", "user_frame"]


@final
@dataclass(frozen=True, slots=True)
class SourceLine:
    """A line of a program.

    Attributes
    ----------
    file : str
        The file as the interpreter knows it.
    line : int
        The line number, from 1.
    function : str
        The name of the function that the line is in, ``<module>`` at the top of a file.

    Examples
    --------
    >>> str(SourceLine("train.py", 17, "step"))
    'train.py:17 in step'
    """

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.function}"

    @property
    def text(self) -> str:
        """The text of the line, or an empty string if the file cannot be read."""
        return linecache.getline(self.file, self.line).strip()


def _directory(file: str | None) -> str:
    return os.path.dirname(os.path.abspath(file or "")) + os.sep


# Frames of the package, and of the standard library's wrappers around it, are not the user's.
_INSIDE = (_directory(__file__), _directory(codegen.__file__), "<frozen ")
_WRAPPERS = frozenset({"contextlib.py", "functools.py"})
_inside_cache: dict[str, bool] = {}
_lines: dict[tuple[int, int], tuple[CodeType, SourceLine]] = {}
_MAX_LINES = 16_384


def _is_inside(file: str) -> bool:
    inside = file.startswith(_INSIDE) or (
        os.path.basename(file) in _WRAPPERS
        and os.path.dirname(file) == os.path.dirname(linecache.__file__)
    )
    _inside_cache[file] = inside
    return inside


def _is_generated(frame: FrameType) -> bool:
    """Whether the frame is a method that `dataclasses` generated for a class of the package."""
    name = frame.f_globals.get("__name__")
    return frame.f_code.co_filename == "<string>" and str(name).startswith(__package__ or "")


def user_frame() -> SourceLine | None:
    """The innermost running line that lies outside fusegrad.

    It is taken for every recorded operation, so it reads no file and builds nothing twice.

    Returns
    -------
    SourceLine or None
        None if every frame is fusegrad's own.

    Examples
    --------
    >>> user_frame().function
    '<module>'
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        file = code.co_filename
        inside = _inside_cache.get(file)
        if inside is None:
            inside = _is_inside(file)
        if not inside and not (file == "<string>" and _is_generated(frame)):
            return _line_of(frame, code)
        frame = frame.f_back
    return None


def _line_of(frame: FrameType, code: CodeType) -> SourceLine:
    # The entry holds the code object, so its id is not given to another one.
    key = (id(code), frame.f_lasti)
    known = _lines.get(key)
    if known is not None:
        return known[1]
    line = SourceLine(code.co_filename, frame.f_lineno, code.co_name)
    if len(_lines) >= _MAX_LINES:
        _lines.clear()
    _lines[key] = (code, line)
    return line
