"""NVIDIA GPUs: whether there are any that can be used, and if not, why.

The programs of this version run on the processor. The text of the kernels for a GPU can be read on
any machine.
"""

from __future__ import annotations

__all__ = ["device_count", "is_available", "why_not"]


def is_available() -> bool:
    """Whether tensors can be put on a GPU; `why_not` gives the reason if they cannot.

    Returns
    -------
    bool

    Examples
    --------
    >>> import fusegrad as fg
    >>> device = "cuda" if fg.cuda.is_available() else "cpu"
    >>> fg.zeros(2, device=device)
    Tensor([0., 0.])
    """
    return why_not() is None


def why_not() -> str | None:
    """Why no GPU can be used.

    Returns
    -------
    str or None
        None if one can.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.cuda.why_not()
    'programs of this version run on the processor'
    """
    return "programs of this version run on the processor"


def device_count() -> int:
    """How many GPUs can be used.

    Returns
    -------
    int

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.cuda.device_count()
    0
    """
    return 0
