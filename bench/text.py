"""Prompts of a wanted length."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strata.errors import InputError

if TYPE_CHECKING:
    from strata.model import Model

_PASSAGE = (
    "The river was wide and slow, and in the evening the children walked along it to see the "
    "boats come home. Their mother sold bread at the bridge, where the road from the hills meets "
    "the road from the sea, and she knew every sailor by name. "
)

EIGHT = tuple(
    f"The {thing} that we saw in the {place} last {season} was much larger than the one which"
    for thing, place, season in (
        ("ship", "harbour", "winter"),
        ("tree", "garden", "spring"),
        ("horse", "field", "summer"),
        ("picture", "museum", "autumn"),
        ("dog", "street", "week"),
        ("house", "village", "year"),
        ("bear", "forest", "month"),
        ("cloud", "valley", "night"),
    )
)


def prompt_of(model: Model, n_tokens: int) -> str:
    """A prompt of at most `n_tokens` tokens, and as near to that as whole words allow."""
    words = (_PASSAGE * (1 + n_tokens // 40)).split()
    best = words[0]
    for n in range(2, len(words)):
        longer = " ".join(words[:n])
        try:
            if len(model.encode(longer)) > n_tokens:
                break
        except InputError:
            break
        best = longer
    return best
