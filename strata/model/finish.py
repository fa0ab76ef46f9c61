"""What a network does between its last block and its head, as if it were one norm."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from strata.model.blocks import here, state_of, with_state


class Finish(nn.Module):
    """Last states -> what the head reads of them, by the network itself.

    For families whose head follows a chain of modules (a dense layer, an activation, a norm), a
    projection, or a sum over the rows of a stream: no chain has to be known. The network runs on a
    single token; where its last block hands on a state, the given ones are put in its place, since
    nothing above depends on the position any more. The self-check judges whether that is so.
    """

    def __init__(self, network: Any, last: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self._held = network, last, head  # a tuple: not to be registered as modules of this one

    def __deepcopy__(self, memo: dict[int, Any]) -> Finish:
        return self  # it has no weights of its own

    def forward(self, states: Tensor) -> Tensor:
        """(..., D) -> (..., D'): D' is the width that the head reads."""
        network, last, head = self._held
        rows = states.reshape(1, -1, states.shape[-1])  # (1, n, D)
        read: list[Tensor] = []

        def put(module: nn.Module, args: Any, output: Any) -> Any:
            own = state_of(output)  # (1, 1, D), or (1, 1, rows of the stream, D / rows)
            shaped = rows.to(own.dtype).reshape(1, rows.shape[1], *own.shape[2:])
            return with_state(output, shaped)

        def take(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            read.append(args[0])
            return (args[0][:, :1], *args[1:])  # the logits are not wanted here

        handles = [
            last.register_forward_hook(here(put)),
            head.register_forward_pre_hook(here(take)),
        ]
        try:
            one = torch.zeros(1, 1, dtype=torch.int64, device=states.device)
            network(input_ids=one, use_cache=False, return_dict=True)
        finally:
            for handle in handles:
                handle.remove()
        return read[0].reshape(*states.shape[:-1], -1).to(states.dtype)
