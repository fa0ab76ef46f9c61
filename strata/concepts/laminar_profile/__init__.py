"""Laminar profile: how alike the states of a prompt are, from layer to layer and token to token."""

from strata.concepts import Concept
from strata.concepts.laminar_profile import measures, script
from strata.concepts.laminar_profile.curves import CURVES, NULLS
from strata.concepts.laminar_profile.selectivity import selectivity
from strata.concepts.laminar_profile.similarity import cka
from strata.concepts.laminar_profile.tables import (
    between_layers,
    between_tokens,
    layer_matrices,
    pair,
    points,
    profile,
    statistics,
    token_matrices,
)

CONCEPT = Concept(
    title="Laminar profile",
    question="How alike are the states of a prompt, from layer to layer and from token to token?",
    plain="what is alike",
    looks_at=("tokens", "blocks"),
    why="If two states point the same way the model may treat them alike; this is how one "
    "looks for that, and how one is misled.",
    order=3,
    views=(
        between_layers,
        between_tokens,
        profile,
        layer_matrices,
        token_matrices,
        statistics,
        points,
        pair,
        cka,
        selectivity,
    ),
    script=script.script,
    icon=":material/blur_on:",
    curves=CURVES,
    nulls=NULLS,
    chance="The grey band of the profile holds pairs of random vectors; under Whole layers stands "
    "what the distance between layers gives alone, and what groups of words give by chance.",
    measures={measure.__name__: measure for measure in measures.MEASURES},
)
