"""Read elsewhere: a state put into another text, and what the model goes on with there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from strata.concepts import apart, costs
from strata.concepts.run import check_count, check_position
from strata.edits import Replace, State
from strata.errors import InputError, ModelError
from strata.model.written import Written, written

if TYPE_CHECKING:
    from strata.model import Model

# Asks for a word once more: Ghandeharioun and others 2024. The state stands at the question mark.
REPEAT = "cat -> cat; 135 -> 135; hello -> hello; ?"
READERS = {
    "repeat": ("Repeat a word", REPEAT),
    "arrow": ("Repeat a word, arrow written", f"{REPEAT} ->"),
    "about": ("Tell what it is", "Oslo: a city in Norway. Mozart: a composer. ?"),
}
MOST_TOKENS = 64  # of the text that a state is read in
LONGEST = 12  # tokens of a continuation
_MOST_LAYERS = 17


def source_layers(n_layers: int) -> list[int]:
    """The layers whose state is read, the lowest and the highest among them: all, or as many as
    keep to some tens of short continuations."""
    stride = -(-n_layers // (_MOST_LAYERS - 1))
    return sorted({*range(0, n_layers + 1, stride), n_layers})


def _cost(n_tokens: int, n_layers: int, params: Mapping[str, Any]) -> float:
    longest = min(MOST_TOKENS, len(params["text"].encode())) + params["n_tokens"]
    return float(2 * n_tokens + (len(source_layers(n_layers)) + 1) * longest)


@apart
@costs(_cost)
def read_elsewhere(
    model: Model,
    prompt: str,
    position: int,
    text: str = REPEAT,
    at: int | None = None,
    into: int | None = None,
    n_tokens: int = 4,
    progress: Callable[[float, str], None] | None = None,
) -> pd.DataFrame:
    """What the model goes on with after `text`, greedily, where the state at `at` (None: the last
    token) is the one that `prompt` has at `position`: a Patchscope, Ghandeharioun et al. 2024.

    Layers are those of `source_layers`; the state is put in at the same layer, or at layer `into`.
    One row a layer and step: layer, step (from 1), token_id, token, prob (of that token at that
    step), continuation (whole), names_token (whether that names the token at `position`),
    names_next (whether it names what `prompt` itself has as the likeliest token after
    `position`; see `names`), and the same six for the text without a state put in, the control:
    control_token_id and so on; token_id and prob are missing where the control ended before.
    next_token: that likeliest token of `prompt` itself.

    With the KV cache; a state put in changes only what later positions read of it. InputError for
    a text, position or layer that is none, and for more than 64 tokens of text or 12 written.
    """
    n_tokens = check_count("The length of a continuation", n_tokens, LONGEST)
    ids, read_in = model.encode(prompt), model.encode(text)
    position = check_position(len(ids), position)
    if len(read_in) > MOST_TOKENS:
        raise InputError(
            f"A state is read in a text of at most {MOST_TOKENS} tokens, and this one has "
            f"{len(read_in)}: use a shorter one."
        )
    last = len(read_in) - 1
    at = last if at is None else at
    if not 0 <= at <= last:
        raise InputError(f"Position {at} does not exist in that text: positions are 0 to {last}.")
    if into is not None and not 0 <= into <= model.n_layers:
        raise InputError(f"Layer {into} does not exist: layers are 0 to {model.n_layers}.")
    if model.lens_refusal:
        raise ModelError(model.lens_refusal)
    clean = model.capture(prompt)
    said = int(model.unembed(clean.hidden[-1, position]).argmax())
    [answer] = model.decode([said], after=clean.token_ids[: position + 1])
    layers = source_layers(model.n_layers)
    runs = [None, *layers]
    found = []
    for number, layer in enumerate(runs):

        def tell(
            fraction: float, message: str, done: int = number, layer: int | None = layer
        ) -> None:
            if progress:
                whose = "No state put in" if layer is None else f"State of layer {layer}"
                progress((done + fraction) / len(runs), f"{whose}: {message}")

        edits = []
        if layer is not None:
            state = State(prompt, positions=(position,), block=layer - 1)
            target = layer if into is None else into
            edits = [Replace(target - 1, "stream", state, positions=(at,))]
        kept = written(model, text, n_tokens, tell, edits)
        found.append(_steps(model, kept, (clean.tokens[position], answer)))
    control = found[0]
    rows: list[dict[str, Any]] = []
    for layer, steps in zip(layers, found[1:], strict=True):
        for step, (row, without) in enumerate(zip_longest(steps, control), start=1):
            if row is None:
                break
            ended = {**control[0], "token_id": None, "token": "", "prob": np.nan}
            beside = {f"control_{name}": value for name, value in (without or ended).items()}
            rows.append({"layer": layer, "step": step, **row, **beside})
    frame = pd.DataFrame(rows).astype({"control_token_id": "Int64"})
    return frame.assign(next_token=answer)


def names(continuation: str, token: str) -> bool:
    """Whether a continuation names a token: its text, without blanks around it, stands there,
    upper and lower case as it is, and is no part of a longer word. A blank names nothing."""
    word = token.strip()
    if not word:
        return False
    before, after = (r"(?<!\w)" * word[0].isalnum(), r"(?!\w)" * word[-1].isalnum())
    return re.search(before + re.escape(word) + after, continuation) is not None


def by_layer(frame: pd.DataFrame) -> pd.DataFrame:
    """Of `read_elsewhere` the first step of each layer, with all that is of the whole layer."""
    return frame[frame["step"] == 1].reset_index(drop=True)


def _steps(model: Model, kept: Written, wanted: tuple[str, str]) -> list[dict[str, Any]]:
    """A row a step: token_id, token, prob, and the whole continuation with what it names."""
    wrote, before = kept.token_ids.tolist(), kept.prompt_ids.tolist()
    probs = model.unembed(kept.hidden[-1]).double().softmax(dim=-1)  # (n, V)
    continuation = model.texts.continuation(kept.token_ids, after=kept.prompt_ids)
    token, answer = (names(continuation, each) for each in wanted)
    return [
        {
            "token_id": token_id,
            "token": model.decode([token_id], after=before + wrote[:i])[0],
            "prob": float(probs[i, token_id]),
            "continuation": continuation,
            "names_token": token,
            "names_next": answer,
        }
        for i, token_id in enumerate(wrote)
    ]
