"""Pairs of prompts that are worth patching, tried on the bundled model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pair:
    """Two prompts of as many tokens, and what the bundled model says next after each: the words
    whose difference is the target. `name` is its own for good, since links hold it."""

    name: str
    purpose: str
    title: str
    clean: str
    other: str
    clean_top: str
    other_top: str


_NAMES = "When John and Mary went to the store, {} gave a drink to"
_ARGUMENT = "Then Alice and Bob had a long argument, and afterwards {} said to"

PAIRS = (
    Pair(
        "paris",
        "Facts",
        "France or Italy",
        "The capital of France is",
        "The capital of Italy is",
        " Paris",
        " Rome",
    ),
    Pair(
        "tower",
        "Facts",
        "Eiffel Tower or Colosseum",
        "The Eiffel Tower is in the city of",
        "The Colosseum is in the city of",
        " Paris",
        " Rome",
    ),
    Pair(
        "population",
        "Facts",
        "Capital or population",
        "The capital of France is",
        "The population of France is",
        " Paris",
        " approximately",
    ),
    Pair(
        "store",
        "Names",
        "John or Mary gives",
        _NAMES.format("John"),
        _NAMES.format("Mary"),
        " Mary",
        " John",
    ),
    Pair(
        "argument",
        "Names",
        "Alice or Bob speaks",
        _ARGUMENT.format("Alice"),
        _ARGUMENT.format("Bob"),
        " Bob",
        " Alice",
    ),
    Pair(
        "counting",
        "Numbers",
        "Counting from one or five",
        "one, two, three,",
        "five, six, seven,",
        " four",
        " eight",
    ),
    Pair(
        "countdown",
        "Numbers",
        "Counting down from ten or five",
        "ten, nine, eight,",
        "five, four, three,",
        " seven",
        " two",
    ),
    Pair(
        "keys",
        "Agreement",
        "Several keys or one",
        "The keys on the table",
        "The key on the table",
        " are",
        " is",
    ),
    Pair(
        "hat",
        "Agreement",
        "He or she",
        "The man lost his hat because",
        "The woman lost her hat because",
        " he",
        " she",
    ),
    Pair(
        "unrelated",
        "Controls",
        "A prompt about something else",
        "The capital of France is",
        "In summer the weather is",
        " Paris",
        " so",
    ),
)
BY_NAME = {pair.name: pair for pair in PAIRS}
