"""What the words on the pages mean: one exact sentence each, shown where a word is met."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

TERMS = {
    "token": "A token is a piece of text that the model reads as one, often a word with the space "
    "before it, which is shown as “␣”; positions count from 0.",
    "surprisal": "How little a token was expected, given those before it: minus the natural "
    "logarithm of its probability, in nats; 0 for a certain one, and each nat more makes it about "
    "2.7 times less likely.",
    "entropy": "How undecided the model is: the surprisal that it expects on average, in nats; 0 "
    "where it is certain, the logarithm of their number if all tokens were equally likely.",
    "rank": "How many of all the tokens that the model knows got a larger probability: 0 means "
    "that it was the likeliest.",
    "probability": "How much of its expectation the model gave to this token; all tokens together "
    "get 100%.",
    "greedy": "The likeliest token is added to the prompt, the model reads on, and so again, until "
    "it ends the text.",
    "temperature": "The logits are divided by it before they become the probabilities that a token "
    "is drawn from: below 1 the likeliest gain, above 1 the others do.",
    "seed": "Where the row of random numbers begins: the same one draws the same tokens again.",
    "hidden state": "The list of numbers (activations) that the model carries for one token at one "
    "layer; layer 0 is what enters the first block, layer n what leaves block n.",
    "state": "Short for hidden state: the list of numbers that the model carries for one token at "
    "one layer.",
    "activation": "One number of a hidden state.",
    "kurtosis": "How much a few numbers stand out from the rest: 0 for a Gaussian, whose tails are "
    "thin, and large where a few are extreme.",
    "attention sink": "A token, mostly the first, at which others look when nothing else is worth "
    "looking at; its state often grows far longer than theirs.",
    "outlier dimension": "One of the numbers in a state, always at the same place in the list, "
    "that grows far larger than the rest.",
    "final norm": "The model's last step before its output: it divides each state by its size and "
    "stretches each dimension by a fixed weight.",
    "cosine": "How alike two states point, whatever their length: 1 the same way, 0 at right "
    "angles, -1 opposite ways.",
    "lens": "A way to read a state from inside the model as next tokens; without another name the "
    "logit lens, which gives it to the final norm and the head as if it were the last.",
}
PROOF = {  # what the identities at the foot of a page say
    "alone": "Attention weights are those of each block run once more by itself, which must give "
    "what it gave in the run.",
    "heads": "What the heads of a block write, one by one, and the bias must be together what its "
    "attention added.",
    "lens": "Strata reads the last layer's state through the model's final norm and head, and "
    "compares the scores of all tokens (logits) with those that the model gave itself.",
    "read back": "The tokens' texts, joined, must be the text that went in, and give the same "
    "tokens when they are read anew.",
    "writes": "A block adds to each state what its attention takes from other tokens and what its "
    "MLP, a small network, makes of the token's own state; their sum must be the whole change.",
}

# What these words mean to the field only an author can tell from what they mean to everybody.
ONLY_WHERE_MARKED = frozenset(("claim", "greedy", "map", "offset", "spread", "write"))
_SHORT = {  # names of columns
    "prob": "probability",
    "logprob": "log-probability",
    "kl": "kl divergence",
    "dim": "dimension",
    "predicted": "top-1",
    "top 1": "top-1",
    "log likelihood": "log-probability",
}


def forms(terms: Mapping[str, str]) -> dict[str, str]:
    """How terms stand in a text, in small letters, each with its term: as they are, and several of
    a kind. Without those that are words of everyday language as well."""
    known = [term for term in terms if term not in ONLY_WHERE_MARKED]
    return {_several(term): term for term in known} | {term: term for term in known}


def _several(term: str) -> str:
    if term.endswith(("s", "sh", "x")):
        return f"{term}es"
    return re.sub("y$", "ie", term) + "s"


def column_meanings(columns: Iterable[str], terms: Mapping[str, str]) -> dict[str, str]:
    """What is to be said of columns of a table, by their names: of each that holds a term what that
    means, of the longest term if it holds several."""
    known, found = forms(terms), {}
    for column in columns:
        name = column.replace("_", " ").lower()
        words = _SHORT.get(name, name)
        held = [form for form in known if re.search(rf"(?<!\w){re.escape(form)}(?!\w)", words)]
        if held:
            found[column] = terms[known[max(held, key=len)]]
    return found
