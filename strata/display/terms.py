"""What the words on the pages mean: one exact sentence each, shown where a word is met."""

from __future__ import annotations

TERMS = {
    "token": "A token is a piece of text that the model reads as one, often a word with the space "
    "before it, which is shown as “·”; positions count from 0.",
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
    "statistics": "Over all numbers of one state: variance is how widely they spread, norm the "
    "state's length (the root of the sum of squares), kurtosis how much a few stand out (0 for a "
    "Gaussian).",
    "attention sink": "A token, mostly the first, at which others look when nothing else is worth "
    "looking at; its state often grows far longer than theirs.",
    "outlier dimension": "One of the numbers in a state, always at the same place in the list, "
    "that grows far larger than the rest.",
    "final norm": "The model's last step before its output: it divides each state by its size and "
    "stretches each dimension by a fixed weight.",
    "cosine": "How alike two states point, whatever their length: 1 the same way, 0 at right "
    "angles, -1 opposite ways.",
    "lens": "Strata reads the last layer's state through the model's final norm and head, and "
    "compares the scores of all tokens (logits) with those that the model gave itself.",
    "read back": "The tokens' texts, joined, must be the text that went in, and give the same "
    "tokens when they are read anew.",
    "writes": "A block adds to each state what its attention takes from other tokens and what its "
    "MLP, a small network, makes of the token's own state; their sum must be the whole change.",
}
