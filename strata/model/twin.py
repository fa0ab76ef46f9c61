"""A model whose blocks are random: what is left of a finding when nothing in them was learned.

Its matrices are never all there: a block's are drawn when it runs and let go afterwards, so that a
twin of a large model takes the room of one block more.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from strata.errors import InputError
from strata.model.resolved import Resolver

_SEEDS = 2**31


class Drawn:
    """The random matrices in the place of a network's own, block by block.

    Each is drawn from a seed of its own, in one thread: the same numbers for the same seed, in
    whichever order blocks run, and whatever the number of threads.
    """

    def __init__(self, blocks: tuple[nn.Module, ...], seed: int, original: Any) -> None:
        """`blocks`: those of the twin. `original`: the model whose twin it is."""
        self.seed, self.original = seed, original
        self._held = [0] * len(blocks)
        self._moments: dict[int, tuple[Tensor, Tensor]] = {}
        self._places: list[list[tuple[nn.Module, str, nn.Parameter, int]]] = []
        numbers: dict[int, int] = {}  # a matrix that several blocks share is drawn alike for all
        for i, block in enumerate(blocks):
            self._places.append([])
            for path, module in block.named_modules():
                for name, own in module._parameters.items():
                    if own is not None and _is_matrix(path, name, own):
                        number = numbers.setdefault(id(own), len(numbers))
                        self._places[i].append((module, name, own, number))
            self._put_away(i)
            block.register_forward_pre_hook(self._before(i))
            block.register_forward_hook(self._after(i), always_call=True)

    @contextmanager
    def holding(self, block: int) -> Iterator[None]:
        """Inside, a block's matrices stay: they are drawn once for all its runs."""
        self._take(block)
        try:
            yield
        finally:
            self._let_go(block)

    def matrix(self, own: Tensor, number: int) -> Tensor:
        """The `number`-th matrix: Gaussian, with mean and deviation of the one that was learned. Of
        a stack of matrices each has its own."""
        if number not in self._moments:
            # By numpy: torch sums in another order where it has more threads.
            values = own.detach().to("cpu", torch.float64).reshape(-1, *_sides(own)[-2:]).numpy()
            moments = (values.mean(axis=(1, 2)), values.std(axis=(1, 2)))
            mean, deviation = (torch.from_numpy(each).float()[:, None, None] for each in moments)
            self._moments[number] = mean, deviation
        mean, deviation = self._moments[number]
        # Mixed first: of a seed the generator takes 32 bits.
        mixed = hashlib.sha256(f"{self.seed} {number}".encode()).digest()[:4]
        generator = torch.Generator().manual_seed(int.from_bytes(mixed, "big"))
        drawn = torch.empty(len(mean), *_sides(own)[-2:]).normal_(generator=generator)
        return drawn.mul_(deviation).add_(mean).reshape(own.shape).to(own)

    def _before(self, block: int) -> Any:
        def hook(module: nn.Module, args: Any) -> None:
            if "forward" not in vars(module):  # else it is asked what it is given, and does not run
                self._take(block)

        return hook

    def _after(self, block: int) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            if "forward" not in vars(module):
                self._let_go(block)

        return hook

    def _take(self, block: int) -> None:
        self._held[block] += 1
        if self._held[block] == 1:
            with torch.inference_mode(False):  # of use to autograd later
                for module, name, own, number in self._places[block]:
                    drawn = self.matrix(own, number)
                    module._parameters[name] = nn.Parameter(drawn, requires_grad=False)

    def _let_go(self, block: int) -> None:
        self._held[block] -= 1
        if self._held[block] == 0:
            self._put_away(block)

    def _put_away(self, block: int) -> None:
        for module, name, own, _ in self._places[block]:
            absent = torch.empty_like(own, device="meta")
            module._parameters[name] = nn.Parameter(absent, requires_grad=False)


def random_twin(model: Any, seed: int = 0) -> Any:
    """A model (`strata.model.Model`) like another but for what its blocks learned.

    Each matrix is Gaussian with the mean and the deviation of its own entries: what sums up numbers
    of a state, or of states (a convolution's kernel). Norms, biases and a scan's rates of decay are
    kept, also where they lie in a table, with a row for each expert or head; so are embedding,
    position table and head. The same for the same seed. Its identities were
    not measured anew: they are about the form, which is the same. For one thread. InputError for a
    seed that is no whole number of 31 bits.
    """
    whole = isinstance(seed, Integral) and not isinstance(seed, bool)
    if not whole or not 0 <= seed < _SEEDS:
        raise InputError(f"A seed is a whole number from 0 to {_SEEDS - 1:,}, not {seed!r}.")
    seed, network = int(seed), _skeleton(model._network)
    twin = copy.copy(model)
    twin.name = f"{model.name}, random blocks {seed}"
    twin._network = network
    twin.architecture = model.architecture.moved(network)
    twin.drawn = Drawn(twin.architecture.blocks, seed, model)
    twin.float_head = twin.architecture.in_float32()
    twin._resolved = Resolver(twin)
    return twin


def _skeleton(network: Any) -> Any:
    """A copy of a network's modules that shares its weights, without anybody's hooks."""
    shared = {id(each): each for each in (*network.parameters(), *network.buffers())}
    found = copy.deepcopy(network, shared)
    for module in found.modules():
        for hooks in (module._forward_hooks, module._forward_pre_hooks):
            hooks.clear()
        vars(module).pop("forward", None)
    return found


def _is_matrix(path: str, name: str, own: Tensor) -> bool:
    """Whether a parameter of a block's module at `path` is a matrix, by its sides, and is named as
    none that is kept."""
    kept = name.endswith(("bias", "_log")) or "norm" in path.rpartition(".")[2].lower()
    return len(_sides(own)) > 1 and not kept


def _sides(own: Tensor) -> list[int]:
    """How long the sides of a matrix are, those of length 1 left out."""
    return [n for n in own.shape if n > 1]
