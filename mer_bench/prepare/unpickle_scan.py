"""A look at a pickle before it runs: lengths, memo numbers and the names it asks for."""

from __future__ import annotations

import mmap
import pickletools
from collections.abc import Container, Iterator
from typing import NamedTuple

from mer_bench.errors import UserError

OPCODES = {ord(opcode.code): opcode for opcode in pickletools.opcodes}
COUNTED = {
    pickletools.TAKEN_FROM_ARGUMENT1: (1, False),
    pickletools.TAKEN_FROM_ARGUMENT4: (4, True),
    pickletools.TAKEN_FROM_ARGUMENT4U: (4, False),
    pickletools.TAKEN_FROM_ARGUMENT8U: (8, False),
}
SHOWN = 512  # bytes of an argument that are looked at; names and numbers are shorter


class Instruction(NamedTuple):
    """One instruction of a pickle; `argument` is cut after `SHOWN` bytes."""

    name: str
    argument: bytes
    position: int


def refusal(where: str, module: str, name: str) -> UserError:
    """The error for a global that is not on the list."""
    wanted = f"{module}.{name}".encode("ascii", "backslashreplace").decode()[:200]
    return UserError(
        f"{where}: refused, nothing was executed: the pickle asks for {wanted}; only plain containers, numbers, "
        "strings and NumPy arrays are read from a pickle. Save the data as .npz, .npy or .csv where they were made"
    )


def instructions(data: bytes | mmap.mmap, position: int = 0) -> Iterator[Instruction]:
    """The instructions of a pickle that starts at `position`, not carried out.

    Raises:
        ValueError: an unknown instruction, or a length that points beyond the end.
    """
    name = ""
    while name != "STOP":
        if position >= len(data):
            raise ValueError(f"it ends at byte {position} without a stop instruction")
        opcode = OPCODES.get(data[position])
        if opcode is None:
            raise ValueError(f"unknown instruction {data[position]:#04x} at byte {position}")
        name, start = opcode.name, position + 1
        size = opcode.arg.n if opcode.arg else 0
        if size in COUNTED:
            width, signed = COUNTED[size]
            size = width + int.from_bytes(data[start : start + width], "little", signed=signed)
        elif size == pickletools.UP_TO_NEWLINE:
            size = _lines(data, start, 2 if name in ("GLOBAL", "INST") else 1) - start
        if size < 0 or start + size > len(data):
            raise ValueError(f"{name} at byte {position} declares {size} bytes, {len(data) - start} are left")
        yield Instruction(name, data[start : start + min(size, SHOWN)], position)
        position = start + size


def _lines(data: bytes | mmap.mmap, start: int, count: int) -> int:
    """Where `count` lines from `start` end."""
    for _ in range(count):
        start = data.find(b"\n", start) + 1
        if not start:
            raise ValueError("a line has no end")
    return start


def end_of(data: bytes, start: int) -> int:
    """Where the pickle ends that starts at `start`.

    Raises:
        ValueError: damaged.
    """
    for _, _, position in instructions(data, start):
        last = position
    return last + 1


def scan(data: bytes | mmap.mmap, where: str, allowed: Container[tuple[str, str]]) -> None:
    """Refuse what would import something, or make the unpickler allocate more than the file holds.

    Names that are put together from strings (STACK_GLOBAL) are not seen here; the unpickler itself refuses those.

    Args:
        data: the pickle.
        where: names it in messages.
        allowed: (module, name) of the globals it may ask for.

    Raises:
        UserError: a global that is not allowed.
        ValueError: damaged, or hostile lengths.
    """
    for name, argument, position in instructions(data):
        if name in ("GLOBAL", "INST"):
            module, attribute, *_ = [*argument.decode("latin1").split("\n"), "", ""]
            if (module, attribute) not in allowed:
                raise refusal(where, module, attribute)
        elif name in ("PUT", "LONG_BINPUT"):
            index = int(argument) if name == "PUT" else int.from_bytes(argument, "little")
            if index > position:
                raise ValueError(f"memo number {index} at byte {position} is larger than the pickle so far")
        elif name == "FRAME":
            size = int.from_bytes(argument, "little")
            if size > len(data) - position - 9:
                raise ValueError(f"frame at byte {position} declares {size} bytes, more than are left")
        elif name.startswith("EXT"):
            raise refusal(where, "copyreg extension", str(int.from_bytes(argument, "little")))
