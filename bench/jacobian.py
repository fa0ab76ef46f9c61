"""The Jacobian lens beside its definition written plainly, and how soon a word's beam is there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from bench.measure import Row, take_turns
from strata.concepts.jacobian_lens import beams
from strata.corpus.passages import fitting, passages
from strata.model import Model, load_model
from strata.model.jacobian import SKIP
from strata.model.pullback import pulled_back
from strata.weights.sources import cached_folder

TOKENS = 48
ROWS = 8  # of the plain estimator
_AGREE = 1e-3  # of a layer's largest entry
_SHARE = 0.75  # of the plain estimator's time
_FIRST, _ALL, _PASSAGES = 2.0, 30.0, 25  # seconds until the first beam, and until that many


def jacobian(name: str, quick: bool) -> Iterator[Row]:
    """One text's Jacobian at all layers, by all D cotangents (quick: 16). The plain estimator
    repeats the prompt for 8 of them, and pulls them back through the whole network, at all
    positions. And a word's beam over passages. Raises AssertionError where both disagree.
    """
    model = load_model(name)
    folder = cached_folder(model.card)
    assert folder is not None, "a model that was loaded is cached"
    network: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=model.dtype)
    network = network.to(model.device).eval().requires_grad_(False)
    texts = [fitting(model, [text])[0] for text in passages().values()][:_PASSAGES]
    row = model.encode(texts[0])[:TOKENS]
    cotangents = torch.eye(model.d_model)[: 16 if quick else None]
    found: dict[str, Tensor] = {}

    def ours(cotangents: Tensor = cotangents) -> None:
        found["ours"] = pulled_back(model, [row], cotangents, SKIP)[0]

    def plain(cotangents: Tensor = cotangents) -> None:
        found["plain"] = by_definition(network, model, row, cotangents)

    for warm in (ours, plain):
        warm(cotangents[:ROWS])
    timed = take_turns({"ours": ours, "plain": plain}, rounds=1 if quick else 2, warm=0)
    size = found["plain"].abs().amax(dim=(1, 2))
    apart = ((found["ours"] - found["plain"]).abs().amax(dim=(1, 2)) / size).max()
    assert float(apart) <= _AGREE, f"both Jacobians differ by {float(apart):.2g}"
    label = f"{len(cotangents)} rows of a Jacobian, {len(row)} tokens"
    plainly = f"the definition, {ROWS} rows at a time"
    yield Row(label, timed["ours"], timed["plain"], plainly, ratio_at_most=_SHARE)
    trace = model.capture("The capital of France is")
    words = iter(range(100, 10_000))  # a new one each time: what is known is not computed again
    for n, most in ((1, _FIRST), (_PASSAGES, _ALL)):
        if quick and n > 1:
            break
        some = texts[:n]
        beam = {"ours": lambda some=some: list(beams(model, trace, next(words), some))}
        taken = take_turns(beam, rounds=2, warm=0)["ours"]
        noun = "1 passage" if n == 1 else f"{n} passages"
        yield Row(f"a word's beam over {noun}", taken, p95_at_most=most)


def by_definition(
    network: Any, model: Model, row: Tensor, cotangents: Tensor, rows: int = ROWS
) -> Tensor:
    """(L + 1, n, D): rows of one text's Jacobian, so many at a time; positions as
    `strata.model.jacobian.fit`."""
    states: list[Tensor] = []
    blocks = network.get_submodule(model.blocks_path)

    def enter(module: object, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        states.append(args[0].detach().requires_grad_(True))
        return (states[0], *args[1:])

    def leave(module: object, args: object, output: Any) -> None:
        states.append(output[0] if isinstance(output, tuple) else output)

    hooks = [blocks[0].register_forward_pre_hook(enter)]
    hooks += [block.register_forward_hook(leave) for block in blocks]
    try:
        with torch.enable_grad():
            network(input_ids=row.repeat(rows, 1).to(network.device), use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    used, found = slice(SKIP, len(row) - 1), []
    for some in cotangents.split(rows):
        put = torch.zeros_like(states[-1])  # (8, T, D)
        put[: len(some), used] = some[:, None].to(put)
        pulled = torch.autograd.grad(states[-1], states, put, retain_graph=True)
        means = torch.stack([each[: len(some), used].mean(dim=1) for each in pulled])
        found.append(means.float().cpu())
    return torch.cat(found, dim=1)
