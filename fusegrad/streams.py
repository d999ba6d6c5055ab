"""Streams and events of NVIDIA GPUs, under torch's names.

Knows the GPUs of the runtime, each of which has one queue of work.
"""

from __future__ import annotations

from typing import Any, final

from .errors import DeviceError, StateError
from .runtime import devices
from .runtime.devices import GPU, find
from .tensors import evaluation

__all__ = ["Event", "Stream", "current_stream", "default_stream", "gpu_of"]


def gpu_of(which: Any) -> GPU:
    """A GPU by its number or name; the current one for None."""
    text = "cuda" if which is None else f"cuda:{which}" if isinstance(which, int) else str(which)
    kind, _, number = text.partition(":")
    if kind != "cuda" or not (number.isdecimal() or text == "cuda"):
        raise DeviceError(f"{which!r} is no GPU", remedy="name one as 'cuda:0', or by its number")
    return find(int(number or devices.current_index()))


@final
class Event:
    """A moment in the work of a GPU, to measure or to wait for.

    Parameters
    ----------
    enable_timing, blocking, interprocess : bool, optional
        As of torch's; each event can be measured with.

    Examples
    --------
    >>> import fusegrad as fg
    >>> with fg.testing.simulated_gpus():
    ...     start, end = fg.cuda.Event(enable_timing=True), fg.cuda.Event(enable_timing=True)
    ...     start.record()
    ...     y = (fg.ones(1000, device="cuda") * 2).sum().item()
    ...     end.record()
    ...     end.synchronize()
    ...     start.elapsed_time(end) > 0
    True
    """

    def __init__(
        self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False
    ) -> None:
        self._gpu: GPU | None = None
        self._mark: Any = None

    def record(self, stream: Stream | None = None) -> None:
        """Be the moment when all that was asked for before is done."""
        self._gpu = gpu_of(None) if stream is None else stream.gpu
        # What was only recorded so far is asked for before.
        evaluation.settle(None)
        self._mark = self._gpu.driver.mark(self._gpu.index)

    def synchronize(self) -> None:
        """Wait until the moment has come."""
        if self._gpu is not None:
            self._gpu.driver.synchronize(self._gpu.index)

    def wait(self, stream: Stream | None = None) -> None:
        """Let a stream wait for the moment: there is one, in which all is in order already."""

    def elapsed_time(self, end_event: Event) -> float:
        """The milliseconds from this moment to a later one, which is waited for.

        Raises
        ------
        StateError
            If one of them was not recorded.
        """
        if self._gpu is None or end_event._gpu is None:
            raise StateError(
                "an event was not recorded", remedy="call record() where its moment is"
            )
        return self._gpu.driver.seconds(self._gpu.index, self._mark, end_event._mark) * 1e3


@final
class Stream:
    """The queue of work of a GPU, of which there is one: all streams are names for it.

    Parameters
    ----------
    device : int, str or device, optional
    priority : int, optional
        Not heeded.

    Attributes
    ----------
    cuda_stream : int
        Its handle, for other libraries.

    Examples
    --------
    >>> import fusegrad as fg
    >>> with fg.testing.simulated_gpus():
    ...     side = fg.cuda.Stream()
    ...     side.wait_stream(fg.cuda.current_stream())
    ...     with fg.cuda.stream(side):
    ...         y = fg.ones(2, device="cuda") + 1
    ...     side.synchronize()
    ...     y.cpu(), side == fg.cuda.default_stream()
    (Tensor([2., 2.]), True)
    """

    def __init__(self, device: Any = None, priority: int = 0) -> None:
        self.gpu = gpu_of(device)
        self.cuda_stream = self.gpu.driver.stream(self.gpu.index)

    def synchronize(self) -> None:
        """Wait until everything in it is done."""
        self.gpu.driver.synchronize(self.gpu.index)

    def record_event(self, event: Event | None = None) -> Event:
        """An event at the present end of it."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """Go on after an event."""
        event.wait(self)

    def wait_stream(self, stream: Stream) -> None:
        """Go on after what another one has to do, of another GPU."""
        if stream.gpu is not self.gpu:
            stream.synchronize()

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.cuda_stream

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and other.gpu is self.gpu

    def __hash__(self) -> int:
        return hash(self.gpu.name)


def current_stream(device: Any = None) -> Stream:
    """The queue of a GPU's work.

    Parameters
    ----------
    device : int, str or device, optional

    Returns
    -------
    Stream

    Examples
    --------
    >>> import fusegrad as fg
    >>> with fg.testing.simulated_gpus():
    ...     fg.cuda.current_stream().synchronize()
    """
    return Stream(device)


def default_stream(device: Any = None) -> Stream:
    """As `current_stream`: there is one.

    Parameters
    ----------
    device : int, str or device, optional

    Returns
    -------
    Stream

    Examples
    --------
    >>> import fusegrad as fg
    >>> with fg.testing.simulated_gpus():
    ...     fg.cuda.default_stream() == fg.cuda.current_stream()
    True
    """
    return Stream(device)
