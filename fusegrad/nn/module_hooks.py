"""Functions that are called before and after a module's `forward`.

User-level code: compiled functions record what hooks do, and trace again when there are others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, final

from .. import state

__all__ = ["HookHandle", "ModuleHooks"]


class _Hook(NamedTuple):
    """One function, and how it is called."""

    function: Callable[..., Any]
    before: bool
    with_kwargs: bool


@final
class HookHandle:
    """What takes a hook away again: by `remove`, or at the end of a ``with`` block."""

    def __init__(self, module: ModuleHooks, hook: _Hook) -> None:
        self._module = module
        self._hook = hook

    def remove(self) -> None:
        """Take the hook away."""
        hooks = self._module.__dict__.get("_call_hooks", ())
        self._module._set_hooks(tuple(hook for hook in hooks if hook is not self._hook))

    def __enter__(self) -> HookHandle:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()


class ModuleHooks:
    """Hooks around the call of a module."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output; subclasses define it."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward")

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> HookHandle:
        """Call a function before `forward`, with the module and the arguments.

        Parameters
        ----------
        hook : callable
            ``hook(module, args)``; if it returns something, that takes the place of the arguments.
        prepend : bool, optional
            Whether it is called before the hooks that are there.
        with_kwargs : bool, optional
            Whether it is called as ``hook(module, args, kwargs)``, and returns both or None.

        Returns
        -------
        HookHandle
            Its ``remove()`` takes the hook away.

        Examples
        --------
        >>> import fusegrad as fg
        >>> from fusegrad import nn
        >>> layer = nn.ReLU()
        >>> handle = layer.register_forward_pre_hook(lambda module, args: -args[0])
        >>> layer(fg.asarray([-1.0, 2.0]))
        Tensor([1., 0.])
        """
        return self._add_hook(_Hook(hook, True, with_kwargs), prepend)

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> HookHandle:
        """Call a function after `forward`, with the module, the arguments and the output.

        Parameters
        ----------
        hook : callable
            ``hook(module, args, output)``; what it returns, if not None, is the output.
        prepend : bool, optional
            Whether it is called before the hooks that are there.
        with_kwargs : bool, optional
            Whether it is called as ``hook(module, args, kwargs, output)``.

        Returns
        -------
        HookHandle
            Its ``remove()`` takes the hook away.

        Examples
        --------
        >>> import fusegrad as fg
        >>> from fusegrad import nn
        >>> layer, shapes = nn.Linear(2, 3), []
        >>> handle = layer.register_forward_hook(lambda m, args, y: shapes.append(y.shape))
        >>> _ = layer(fg.ones((5, 2)))
        >>> shapes
        [(5, 3)]
        """
        return self._add_hook(_Hook(hook, False, with_kwargs), prepend)

    def _add_hook(self, hook: _Hook, prepend: bool) -> HookHandle:
        hooks = self.__dict__.get("_call_hooks", ())
        self._set_hooks((hook, *hooks) if prepend else (*hooks, hook))
        return HookHandle(self, hook)

    def _set_hooks(self, hooks: tuple[_Hook, ...]) -> None:
        if hooks:
            self.__dict__["_call_hooks"] = hooks
        else:
            self.__dict__.pop("_call_hooks", None)
        state.bump()

    def _called_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        hooks: tuple[_Hook, ...] = self.__dict__["_call_hooks"]
        for hook in hooks:
            if hook.before:
                found = hook.function(self, args, kwargs) if hook.with_kwargs else None
                if found is not None:
                    args, kwargs = found
                if not hook.with_kwargs:
                    found = hook.function(self, args)
                    if found is not None:
                        args = found if isinstance(found, tuple) else (found,)
        output = self.forward(*args, **kwargs)
        for hook in hooks:
            if not hook.before:
                more = (kwargs,) if hook.with_kwargs else ()
                found = hook.function(self, args, *more, output)
                output = output if found is None else found
        return output
