"""How blocks are listened to: forms of what they are given and hand on, and whose runs count."""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import Any

from torch import Tensor


def here(function: Callable[..., Any], elsewhere: Callable[..., Any] | None = None) -> Any:
    """The function in the thread that asks for it; in others `elsewhere`, or nothing (None)."""
    thread = get_ident()

    def heard(*args: Any, **kwargs: Any) -> Any:
        if get_ident() == thread:
            return function(*args, **kwargs)
        return None if elsewhere is None else elsewhere(*args, **kwargs)

    return heard


def state_in(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """The state that a block is called with, (B, T, D) or, of several rows, (B, T, rows, ...)."""
    state: Tensor = args[0] if args else kwargs["hidden_states"]
    return state


def with_state_in(
    args: tuple[Any, ...], kwargs: dict[str, Any], state: Tensor
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What a block is called with, with another state."""
    if args:
        return (state, *args[1:]), kwargs
    return args, {**kwargs, "hidden_states": state}


def state_of(output: Any) -> Tensor:
    """The state in what a block or a part hands on: alone, or first in a tuple or list."""
    state: Tensor = output[0] if isinstance(output, (tuple, list)) else output
    return state


def with_state(output: Any, state: Tensor) -> Any:
    """The same output with another state."""
    if isinstance(output, (tuple, list)):
        return type(output)([state, *output[1:]])
    return state
