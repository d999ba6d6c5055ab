"""Object code of x86-64 Linux into memory, without a compiler: what is on the disk is only run.

Knows the format of relocatable ELF files; knows no kernels. What it does not know (other machines,
storage of threads) it leaves to LLVM's own linker, which takes 60 MB and 20 ms to begin.

All sections of all objects lie in one mapping: code and constants first, with stubs and addresses
for what is imported, then data on pages of their own. No page may be written and executed.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import platform
import struct
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field
from typing import Any, final

from ..codegen.records import dataclass

__all__ = ["UnknownCode", "is_possible", "link"]


class UnknownCode(Exception):
    """Object code that only LLVM's linker can load, if anything can."""


_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")
_ELF64_LITTLE = b"\x7fELF\x02\x01\x01"
_RELOCATABLE, _X86_64 = 1, 62
_PROGBITS, _SYMTAB, _STRTAB, _RELA, _NOBITS, _REL = 1, 2, 3, 4, 8, 9
_WRITE, _ALLOCATE, _THREAD_LOCAL = 1, 2, 0x400
_UNWIND_NAMES = (b".eh_frame", b".note")
_UNDEFINED, _FIRST_RESERVED, _ABSOLUTE = 0, 0xFF00, 0xFFF1
_LOCAL, _WEAK = 0, 2

_ABSOLUTE_64, _RELATIVE_32, _CALL_32, _RELATIVE_64 = 1, 2, 4, 24
_THROUGH_TABLE = {9, 41, 42}

_STUB = b"\xff\x25\x00\x00\x00\x00"
"""``jmp [rip]``: to the address that follows."""
_STUB_BYTES, _ENTRY_BYTES = 16, 8
_WORD = (1 << 64) - 1
_MOST_ALIGNMENT = 4096


def is_possible() -> bool:
    """Whether this process can run what is linked here."""
    return sys.platform == "linux" and platform.machine() == "x86_64" and sys.maxsize > 1 << 32


@final
@dataclass
class _Section:
    """One section that is loaded; `place` is its offset in the mapping."""

    contents: memoryview
    nbytes: int
    alignment: int
    writable: bool
    place: int = 0


@final
@dataclass
class _Symbol:
    name: str
    binding: int
    section: int
    value: int


@final
@dataclass
class _Object:
    """One object: what is loaded of it, by the number of the section, and what is to be filled in.

    A relocation has the number of a section, an offset in it, a kind, a symbol and an addend.
    """

    sections: dict[int, _Section] = field(default_factory=dict)
    symbols: list[_Symbol] = field(default_factory=list)
    relocations: list[tuple[int, int, int, int, int]] = field(default_factory=list)


# --- reading --------------------------------------------------------------------------------------


def _read(code: bytes) -> _Object:
    """The parts of an object.

    Raises
    ------
    UnknownCode
        If it is none, or has what is not known here.
    """
    try:
        return _parts(memoryview(code))
    except (struct.error, ValueError, IndexError) as error:
        raise UnknownCode(f"no object of a known form: {error}") from error


def _parts(code: memoryview) -> _Object:
    ident, kind, machine, _, _, _, table, _, _, _, _, size, count, names = _HEADER.unpack_from(code)
    if not ident.startswith(_ELF64_LITTLE) or (kind, machine) != (_RELOCATABLE, _X86_64):
        raise UnknownCode("another machine")
    if size != _SECTION.size:
        raise UnknownCode("another form of sections")
    heads = [_SECTION.unpack_from(code, table + size * i) for i in range(count)]
    strings = _contents(code, heads[names])
    found = _Object()
    for number, (name, kind, flags, _, _, nbytes, _, _, alignment, _) in enumerate(heads):
        if not flags & _ALLOCATE or _text(strings, name).startswith(_UNWIND_NAMES):
            continue
        if kind not in (_PROGBITS, _NOBITS) or flags & _THREAD_LOCAL or alignment > _MOST_ALIGNMENT:
            raise UnknownCode("a section of another kind")
        contents = _contents(code, heads[number]) if kind == _PROGBITS else code[:0]
        writable = bool(flags & _WRITE)
        found.sections[number] = _Section(contents, nbytes, max(1, alignment), writable)
    for head in heads:
        kind, link, target = head[1], head[6], head[7]
        if kind == _SYMTAB:
            found.symbols += _symbols(_contents(code, head), _contents(code, heads[link]))
        elif kind == _REL and target in found.sections:
            raise UnknownCode("relocations without addends")
        elif kind == _RELA and target in found.sections:
            for offset, info, addend in _RELOCATION.iter_unpack(_contents(code, head)):
                found.relocations.append((target, offset, info & 0xFFFFFFFF, info >> 32, addend))
    return found


def _contents(code: memoryview, head: tuple[int, ...]) -> memoryview:
    start, nbytes = head[4], head[5]
    if start + nbytes > len(code):
        raise UnknownCode("cut short")
    return code[start : start + nbytes]


def _text(strings: memoryview, start: int) -> bytes:
    tail = bytes(strings[start : start + 256])
    if b"\0" not in tail:
        tail = bytes(strings[start:])
    return tail[: tail.index(b"\0")]


def _symbols(table: memoryview, strings: memoryview) -> Iterator[_Symbol]:
    for name, info, _, section, value, _ in _SYMBOL.iter_unpack(table):
        if section >= _FIRST_RESERVED and section != _ABSOLUTE and info & 15 != 4:
            raise UnknownCode("a symbol in no section")
        yield _Symbol(_text(strings, name).decode(), info >> 4, section, value)


# --- placing --------------------------------------------------------------------------------------


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step


@final
class _Image:
    """The bytes of all objects as they lie in memory.

    Parameters
    ----------
    objects : sequence of _Object
    find : callable
        The address of a symbol that no object has.
    """

    def __init__(self, objects: Sequence[_Object], find: Callable[[str], int]) -> None:
        self.objects = objects
        self.find = find
        self.globals: dict[str, tuple[_Object, _Symbol]] = {}
        for part in objects:
            self._add_globals(part)
        self.stubs: dict[str, int] = {}
        self.entries: dict[int, int] = {}
        # Room for a stub and an entry of every name, and for entries of local ones.
        through = sum(r[2] in _THROUGH_TABLE for part in objects for r in part.relocations)
        names = {s.name for part in objects for s in part.symbols if s.binding != _LOCAL}
        room = (len(names) + through) * (_STUB_BYTES + _ENTRY_BYTES)
        self.next = _round_up(self._place(False, 0), _STUB_BYTES)
        self.fixed = _round_up(self.next + room, mmap.PAGESIZE)
        self.nbytes = _round_up(max(self._place(True, self.fixed), 1), mmap.PAGESIZE)
        self.bytes = bytearray(self.nbytes)
        self.start = 0

    def _add_globals(self, part: _Object) -> None:
        for symbol in part.symbols:
            if symbol.binding == _LOCAL or symbol.section == _UNDEFINED:
                continue
            known = self.globals.setdefault(symbol.name, (part, symbol))[1]
            if known is symbol or symbol.binding == _WEAK:
                continue
            if known.binding != _WEAK:
                raise UnknownCode(f"two functions named {symbol.name}")
            self.globals[symbol.name] = part, symbol

    def _place(self, writable: bool, end: int) -> int:
        """Give sections their places from an offset on; where they end."""
        for part in self.objects:
            for section in part.sections.values():
                if section.writable == writable:
                    section.place = _round_up(end, section.alignment)
                    end = section.place + section.nbytes
        return end

    def fill(self, start: int) -> None:
        """Write all sections, as they are when the image begins at an address."""
        self.start = start
        for part in self.objects:
            for section in part.sections.values():
                at = section.place
                self.bytes[at : at + len(section.contents)] = section.contents
        for part in self.objects:
            for relocation in part.relocations:
                self._relocate(part, relocation)

    def address(self, name: str) -> int | None:
        """Of a symbol, None where no object has it."""
        found = self.globals.get(name)
        return None if found is None else self._defined(*found)

    def _defined(self, part: _Object, symbol: _Symbol) -> int:
        if symbol.section == _ABSOLUTE:
            return symbol.value
        if symbol.section not in part.sections:
            raise UnknownCode("a symbol of a section that is not loaded")
        return self.start + part.sections[symbol.section].place + symbol.value

    def _relocate(self, part: _Object, relocation: tuple[int, int, int, int, int]) -> None:
        number, offset, kind, index, addend = relocation
        symbol = part.symbols[index]
        target = self._defined(part, symbol) if symbol.binding == _LOCAL else None
        if target is None:
            target = self.address(symbol.name)
        if target is None:
            target = self.find(symbol.name)
            if kind == _CALL_32:
                target = self._stub(symbol.name, target)
        at = part.sections[number].place + offset
        if kind == _ABSOLUTE_64:
            self._write("<Q", at, target + addend & _WORD)
            return
        if kind in _THROUGH_TABLE:
            target = self._entry(target)
        elif kind not in (_CALL_32, _RELATIVE_32, _RELATIVE_64):
            raise UnknownCode(f"a relocation of kind {kind}")
        distance = target + addend - self.start - at
        if kind == _RELATIVE_64:
            self._write("<q", at, distance)
            return
        if not -(1 << 31) <= distance < 1 << 31:
            raise UnknownCode("an address too far away")
        self._write("<i", at, distance)

    def _stub(self, name: str, target: int) -> int:
        """The address of code that jumps to an address, however far it is."""
        if name not in self.stubs:
            self.stubs[name] = at = self._take(_STUB_BYTES)
            self.bytes[at : at + len(_STUB)] = _STUB
            self._write("<Q", at + len(_STUB), target)
        return self.start + self.stubs[name]

    def _entry(self, target: int) -> int:
        """The address of a word that has an address."""
        if target not in self.entries:
            self.entries[target] = at = self._take(_ENTRY_BYTES)
            self._write("<Q", at, target)
        return self.start + self.entries[target]

    def _take(self, nbytes: int) -> int:
        at, self.next = self.next, self.next + nbytes
        return at

    def _write(self, form: str, at: int, value: int) -> None:
        struct.pack_into(form, self.bytes, at, value)


# --- memory ---------------------------------------------------------------------------------------


@functools.cache
def _system() -> Any:
    """The functions of the C library that map memory."""
    library = ctypes.CDLL(None, use_errno=True)
    address, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    library.mmap.restype = address
    library.mmap.argtypes = [address, size, number, number, number, ctypes.c_long]
    library.mprotect.argtypes = [address, size, number]
    library.munmap.argtypes = [address, size]
    return library


def _mapped(image: _Image) -> int:
    """The address of new memory with an image in it, its code executable."""
    system = _system()
    access, kind = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    start = system.mmap(None, image.nbytes, access, kind, -1, 0)
    if start in (None, _WORD):
        raise UnknownCode("no memory")
    try:
        image.fill(start)
        ctypes.memmove(start, (ctypes.c_char * image.nbytes).from_buffer(image.bytes), image.nbytes)
        if system.mprotect(start, image.fixed, mmap.PROT_READ | mmap.PROT_EXEC):
            raise UnknownCode("memory that cannot be executed")
    except BaseException:
        system.munmap(start, image.nbytes)
        raise
    return int(start)


def link(
    objects: Sequence[bytes],
    names: Sequence[str],
    find: Callable[[str], int],
    owner: object,
) -> dict[str, int]:
    """Load objects together.

    Parameters
    ----------
    objects : sequence of bytes
    names : sequence of str
        The symbols whose addresses are wanted.
    find : callable
        The address of a symbol that no object has; what it raises is raised.
    owner : object
        When it is collected, the code is unloaded; at the end of the process it stays.

    Returns
    -------
    dict from str to int

    Raises
    ------
    UnknownCode
        If only another linker can load them.
    KeyError
        If a name is that of no symbol.
    """
    image = _Image([_read(code) for code in objects], find)
    missing = [name for name in names if name not in image.globals]
    if missing:
        raise KeyError(missing[0])
    start = _mapped(image)
    unload = weakref.finalize(owner, _system().munmap, start, image.nbytes)
    # Threads of the pool may still be in it.
    unload.atexit = False
    return {name: image.address(name) or 0 for name in names}
