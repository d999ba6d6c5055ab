"""Programs with loops and branches: their text, their check, their plain form."""

from __future__ import annotations

import pytest

from fusegrad.codegen.program import (
    Call,
    Command,
    Copy,
    Cursor,
    Group,
    Launch,
    Loop,
    Program,
    Rotation,
    Slot,
    SlotKind,
    Switch,
    While,
    map_slots,
    print_program,
    verify_program,
    walk,
)


def slot(kind: str, index: int) -> Slot:
    return Slot(SlotKind(kind), index)


def launch(*slots: Slot) -> Group:
    return Group((Launch(0, slots, (), 1, 1, 1),))


CURSORS = tuple(Cursor(i, slot("arena", 64 * i), 0, 8 * i) for i in range(3))
COMMANDS: tuple[Command, ...] = (
    Loop(5, CURSORS, (Rotation(0, 1, 2),), (launch(slot("cursor", 0), slot("cursor", 1)),)),
    While(
        slot("arena", 0),
        CURSORS[:1],
        (),
        (launch(slot("arena", 0)),),
        (Call(0, (slot("cursor", 0),)),),
    ),
    Switch(slot("input", 0), ((Copy(slot("output", 0), slot("input", 0), 8),), ())),
)
PROGRAM = Program("p", 1, 1, 0, 256, 0, COMMANDS, ("f",), 3)

TEXT = """\
program p(inputs 1, outputs 1, constants 0; arena 256 bytes, scratch 0 bytes a thread) {
  loop 5 {
    cursor(0) = arena(0) + 0 step 0
    cursor(1) = arena(64) + 0 step 8
    cursor(2) = arena(128) + 0 step 16
    rotate 0, 1, 2
    launch k(cursor(0), cursor(1)) items 1 grain 1 chunks 1
  }
  while arena(0) {
    cursor(0) = arena(0) + 0 step 0
    launch k(arena(0)) items 1 grain 1 chunks 1
  } {
    call f(cursor(0))
  }
  switch input(0) {
    copy output(0) = input(0) bytes 8
  } else {
  }
}"""


def test_text() -> None:
    assert print_program(PROGRAM, ["k"]) == TEXT


def test_plain_form_and_walk() -> None:
    verify_program(PROGRAM, 1)
    assert Program.from_json(PROGRAM.to_json()) == PROGRAM
    assert len(list(walk(COMMANDS))) == 7
    assert len(PROGRAM.groups) == 2


def test_places_are_replaced_everywhere() -> None:
    same = map_slots(COMMANDS, lambda s: s, lambda n: n)
    assert same == COMMANDS
    moved = map_slots(COMMANDS, lambda s: Slot(s.kind, s.index + 64), lambda n: n + 10)
    text = print_program(Program("p", 1, 1, 0, 256, 0, moved, ("f",), 13), ["k"])
    assert "cursor(10) = arena(64) + 0 step 0" in text
    assert "rotate 10, 11, 12" in text
    assert "while arena(64)" in text
    assert "copy output(64) = input(64) bytes 8" in text


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (launch(slot("cursor", 3)), "no slot cursor"),
        (Copy(slot("arena", 0), slot("input", 1), 8), "copy: no slot input"),
        (Loop(2, CURSORS[:2], (Rotation(0, 1, 2),), ()), "belong to another loop"),
        (While(slot("output", 1), (), (), (), ()), "while: no slot output"),
        (Switch(slot("input", 0), ()), "switch without branches"),
        (Call(0, (slot("constant", 0),)), "call of f: no slot constant"),
    ],
)
def test_what_does_not_exist_is_refused(command: Command, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        verify_program(Program("p", 1, 1, 0, 256, 0, (command,), ("f",), 3), 1)
