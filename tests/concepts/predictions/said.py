"""What is said of predictions, and what must stand in it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from strata.concepts.predictions import tables, words
from strata.concepts.run import text_up_to
from strata.display.tokens import display_candidate
from tests.concepts.said import Run, Said, chance, two


def said(run: Run) -> Iterator[Said]:
    for position in sorted({0, run.last // 2, run.last}):
        logprobs = run.logprobs[position]
        best = int(logprobs.argmax())
        entropy = -(np.exp(logprobs) * np.maximum(logprobs, -1e3)).sum()
        [token] = run.model.decode([best], after=run.trace.token_ids[: position + 1])
        sentence = words.reading(
            text_up_to(run.model, run.trace, position)["text"][0],
            tables.next_token(run.model, run.trace, position, 5),
            tables.entropy(run.trace, position),
        )
        claims = (
            f"puts {chance(np.exp(logprobs[best]))} on “{display_candidate(token)}”",
            f"entropy, {two(entropy)} nats",
        )
        yield Said("reading", sentence, claims)
        if position == run.last:
            top = tables.next_token(run.model, run.trace, position, 5)
            typed = words.typed_reading(run.text, top)
            yield Said("typed_reading", typed, (f"”: “{display_candidate(token)}”, ",))
        if cut := re.match(r"After “…(\w+)", sentence):
            assert re.search(rf"(^|\s){cut[1]}", run.text), f"{sentence} begins in a word"
        yield from _followed(run, position)
    least = run.logprobs[np.arange(run.last), run.trace.token_ids[1:].numpy()]  # (T - 1,)
    claims = ("a single token",)
    if run.last:
        at = int(least.argmin())
        claims = (f"“{run.shown[at + 1]}” at position {at + 1}: {two(-least[at])} nats",)
        claims += (f"mean is {two(-least.mean())} nats a token",)
    surprisal = tables.surprisal(run.model, run.trace)
    yield Said("surprisal_reading", words.surprisal_reading(run.named(surprisal)), claims)


def _followed(run: Run, position: int) -> Iterator[Said]:
    claims: tuple[str, ...] = ("The prompt ends here",)
    if position < run.last:
        logprobs, after = run.logprobs[position], int(run.trace.token_ids[position + 1])
        claims = (
            f"“{run.shown[position + 1]}” really follows",
            f"rank {(run.trace.logits[position] > run.trace.logits[position][after]).sum():,}",
            f"{chance(np.exp(logprobs[after]))}, a surprisal of {two(-logprobs[after])} nats",
        )
    followed = run.named(tables.followed(run.model, run.trace, position))
    yield Said("followed_reading", words.followed_reading(followed), claims)
