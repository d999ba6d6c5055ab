"""Devices: their names, and which of them this installation has."""

from __future__ import annotations

from typing import Any, final

from ..errors import DeviceError
from ..runtime import devices
from .context import active

__all__ = ["CPU", "check_device", "device", "known_devices", "named_device"]

_TYPES = ("cpu", "cuda")


@final
class device:
    """The name of a device. It equals its text, so either can be compared and passed.

    Parameters
    ----------
    name : str or device
        ``"cpu"`` or ``"cuda"``, with an index behind a colon if there are several.
    index : int, optional
        The index, if the name has none.

    Attributes
    ----------
    type : str
        The name without the index.
    index : int or None

    Raises
    ------
    DeviceError
        For any other name. Whether the machine has the device shows when something is put there.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.device("cuda:1").type, fg.device("cuda", 1).index, fg.zeros(2).device
    ('cuda', 1, device('cpu'))
    >>> fg.zeros(2).device == "cpu"
    True
    >>> with fg.testing.simulated_gpus(), fg.device("cuda"):
    ...     fg.zeros(2).device
    device('cuda:0')
    """

    __slots__ = ("index", "type")

    def __init__(self, name: Any, index: int | None = None) -> None:
        kind, colon, number = str(name).partition(":")
        if kind not in _TYPES or (colon and (not number.isdecimal() or index is not None)):
            raise DeviceError(
                f"there is no device {str(name)!r}",
                remedy="name a device 'cpu' or 'cuda', or 'cuda:0' if there are several",
            )
        self.type = kind
        self.index = int(number) if colon else index

    def __enter__(self) -> device:
        """New tensors are on the device as long as the ``with`` block is open, as in torch."""
        found = named_device(self)
        active.devices.append(str(found))
        return self

    def __exit__(self, *error: object) -> None:
        active.devices.pop()

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        return f"device({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return str(self) == str(other) if isinstance(other, (str, device)) else NotImplemented

    def __hash__(self) -> int:
        return hash(str(self))


CPU = device("cpu")


def known_devices() -> tuple[device, ...]:
    """The devices that tensors can be put on."""
    driver = devices.driver()
    if driver is None or driver.why_not() is not None:
        return (CPU,)
    return CPU, *(device("cuda", index) for index in range(driver.count()))


def named_device(name: Any) -> device | None:
    """A device that there is, with its index if it is a GPU; None for None.

    A number is that of a GPU.

    Raises
    ------
    DeviceError
        If this installation does not have it, with the reason.
    """
    if name is None:
        return None
    text = f"cuda:{name}" if type(name) is int else str(name)
    kind, _, number = text.partition(":")
    if text in ("cpu", "cpu:0"):
        return CPU
    if kind == "cuda" and (number.isdecimal() or ":" not in text):
        index = int(number or devices.current_index())
        return device(devices.find(index, text).name)
    raise DeviceError(
        f"there is no device {text!r}",
        remedy=f"this installation has {', '.join(repr(str(own)) for own in known_devices())}",
    )


def check_device(name: Any) -> None:
    """Raise DeviceError unless this installation has the device."""
    named_device(name)
