"""Predictions: the probability that the model gives to every possible next token."""

from strata.concepts import Concept
from strata.concepts.predictions import measures, script
from strata.concepts.predictions.nulls import NULLS
from strata.concepts.predictions.tables import (
    chances,
    entropy,
    factual,
    followed,
    next_token,
    so_far,
    surprisal,
    upcoming,
)

CONCEPT = Concept(
    title="Predictions",
    question="What does the model expect next, and how well did it foresee this text?",
    plain="what comes next",
    looks_at=("tokens", "next"),
    why="All that a language model ever does is this. Everything on the other pages is there "
    "to make it.",
    order=1,
    views=(next_token, chances, surprisal, followed, entropy, factual, upcoming, so_far),
    script=script.script,
    nulls=NULLS,
    icon=":material/casino:",
    measures={measure.__name__: measure for measure in measures.MEASURES},
)
