"""The exact patch map beside a pass with a hook for each cell, and beside TransformerLens."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoModelForCausalLM

from bench.measure import Row, Sample, take_turns
from strata.concepts.patching import patch_map
from strata.concepts.patching.views import cells, pieces
from strata.model import load_model
from strata.trace import Trace
from strata.weights.sources import cached_folder

# On the bundled model 15 tokens each, of which only the first is the same.
CLEAN = "The capital of France is a city that lies on the river of the north"
OTHER = "The answer to five plus two was found by one who came in at last"
_TOKENS = 15
_AGREE = 1e-3  # logits: the values of both
_FASTER = 1 / 20  # of the time of the other
_FIRST = 1.0  # seconds until the first layers are there
_MISSING = (
    "TransformerLens is not installed here, so the map is not timed beside it: it goes into an "
    "environment of its own, with `pip install -r requirements.txt transformer-lens==4.3.0`."
)


def patching(name: str, quick: bool) -> Iterator[Row]:
    """`patch_map` of the stream, at every layer below the last and every position from the first
    at which two prompts part, beside the plain loop: a forward pass with a hook for each cell. And
    beside TransformerLens, where it is installed. The last layer's cells are Strata's alone.

    All start from both clean runs being known. Timed with one thread, and with two where there are
    two cores: each row names how many, and the bound is on the last, which is how Strata runs. One
    thread is held by what there is to multiply: 330 GFLOP for the bundled model's 420 cells, at 99
    of the 107 GFLOP/s that its core does at best. Raises AssertionError where they disagree.
    """
    model = load_model(name)
    folder = cached_folder(model.card)
    assert folder is not None, "a model that was loaded is cached"

    def copy() -> Any:
        network: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=model.dtype)
        return network.to(model.device).eval()

    plain = copy()
    rows = [model.encode(text) for text in (CLEAN, OTHER)]
    length = min(_TOKENS, *map(len, rows))  # all, on the bundled model
    source, trace = (model.capture_row(row[:length]) for row in rows)
    target = [int(run.logits[-1].argmax()) for run in (source, trace)]
    if target[0] == target[1]:
        target[1] = int(trace.logits[-1].argsort()[-2])
    first = int((source.token_ids != trace.token_ids).nonzero()[0])
    where = list(itertools.product(range(model.n_layers), range(first, length)))
    label = f"patch map, {len(where)} cells of {length} tokens"

    def ours() -> NDArray[np.float64]:
        frame = patch_map(model, trace, source, target).set_index(["layer", "position"])
        return frame["value"][where].to_numpy()

    blocks = plain.get_submodule(model.blocks_path)

    def loop() -> NDArray[np.float64]:
        return _loop(plain, blocks, trace, source, target, where)

    others: dict[str, Callable[[], NDArray[np.float64]]] = {"the plain loop": loop}
    if lens := _installed():
        others[lens] = _transformer_lens(copy(), model, trace, source, target, where)
    wanted = ours()
    for other, its in others.items():
        apart = float(np.abs(wanted - its()).max())
        assert apart <= _AGREE, f"the map and {other} differ by {apart:.2g} logits"
    if not lens:
        print(_MISSING, file=sys.stderr)
    counts = (1, 2)[: os.cpu_count()]
    for n_threads in counts:
        with _threads(n_threads):
            taken = take_turns({"ours": ours, **others}, rounds=1 if quick else 3, warm=0)
        named = f"{label}, {n_threads} thread{'s' * (n_threads > 1)}"
        bound = _FASTER if n_threads == counts[-1] else None
        for other in others:
            yield Row(named, taken["ours"], taken[other], other, ratio_at_most=bound)
    clean = model.capture(CLEAN)
    if len(clean.tokens) == len(model.encode(OTHER)):
        top = pieces(model.n_layers)[0]
        timed = {"ours": lambda: cells(model, clean, OTHER, layers=top)}
        sample: Sample = take_turns(timed, rounds=2 if quick else 10, warm=1)["ours"]
        yield Row(f"its first layers, {top[0]} to {top[1]}", sample, p95_at_most=_FIRST)


def _installed() -> str:
    """TransformerLens with its version; "" where it is not installed."""
    try:
        return f"TransformerLens {version('transformer-lens')}"
    except PackageNotFoundError:
        return ""


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _loop(
    plain: Any,
    blocks: Any,
    trace: Trace,
    source: Trace,
    target: list[int],
    where: list[tuple[int, int]],
) -> NDArray[np.float64]:
    ids = trace.token_ids[None].to(plain.device)
    hidden = source.hidden.to(plain.device, plain.dtype)
    values = np.zeros(len(where))
    for i, (layer, position) in enumerate(where):

        def put(
            module: object, args: Any, layer: int = layer, position: int = position
        ) -> tuple[Any, ...]:
            state = args[0].clone()
            state[0, position] = hidden[layer, position]
            return (state, *args[1:])

        hook = blocks[layer].register_forward_pre_hook(put)
        with torch.no_grad():
            logits = plain(ids).logits[0, -1]
        hook.remove()
        values[i] = logits[target[0]] - logits[target[1]]
    return values


def _transformer_lens(
    network: Any,
    model: Any,
    trace: Trace,
    source: Trace,
    target: list[int],
    where: list[tuple[int, int]],
) -> Callable[[], NDArray[np.float64]]:
    os.environ.setdefault("TQDM_DISABLE", "1")  # a bar for each map would hide the report
    from transformer_lens import patching as theirs
    from transformer_lens.model_bridge import TransformerBridge

    folder = str(cached_folder(model.card))
    bridge = TransformerBridge.boot_transformers(
        folder, hf_model=network, tokenizer=model.tokenizer, device=str(model.device)
    )
    _, cache = bridge.run_with_cache(source.token_ids[None].to(model.device))

    def metric(logits: Tensor) -> Tensor:
        return logits[0, -1, target[0]] - logits[0, -1, target[1]]

    def run() -> NDArray[np.float64]:
        with torch.no_grad():
            found = theirs.generic_activation_patch(
                bridge,
                trace.token_ids[None].to(model.device),
                cache,
                metric,
                theirs.layer_pos_patch_setter,
                "resid_pre",
                index_df=pd.DataFrame(where, columns=["layer", "pos"]),
            )
        return found.double().cpu().numpy()

    return run
