"""How the loss of a prompt would change with each of its states."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from strata.model.architecture import Architecture
from strata.model.blocks import here, state_in, state_of


def gradients(network: Any, architecture: Architecture, ids: Tensor) -> Tensor:
    """(L + 1, T, D) float32, on the CPU: see `Model.gradients`. `ids`: (1, T), T at least 2."""
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        states_with_grad(architecture) as states,
    ):
        ids = ids.clone()  # may have been made under inference mode by the caller
        logits = network(
            input_ids=ids, use_cache=False, return_dict=True
        ).logits.float()  # (1, T, V)
        loss = F.cross_entropy(logits[0, :-1], ids[0, 1:])
        return (
            torch.cat(torch.autograd.grad(loss, states)).flatten(2).float().cpu()
        )  # (L + 1, T, D)


@contextmanager
def states_with_grad(architecture: Architecture):  # type: ignore[no-untyped-def]
    """While open, a forward pass keeps its L + 1 states, (B, T, D) each, in an autograd graph.

    What enters block 0 becomes a leaf, so nothing below it is differentiated.
    """
    states: list[Tensor] = []

    def begin(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        leaf = state_in(args, kwargs).detach().requires_grad_(True)
        states.append(leaf)
        if args:
            return (leaf, *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": leaf}

    def after(module: nn.Module, args: Any, output: Any) -> None:
        states.append(state_of(output))

    first, *_ = architecture.blocks
    handles = [first.register_forward_pre_hook(here(begin), with_kwargs=True)]
    try:
        handles += [block.register_forward_hook(here(after)) for block in architecture.blocks]
        yield states
    finally:
        for handle in handles:
            handle.remove()
