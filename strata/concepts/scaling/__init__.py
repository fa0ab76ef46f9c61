"""Scaling: multiply what one block hands on, and see what becomes of the prediction."""

from strata.concepts import Concept
from strata.concepts.scaling import measures, script
from strata.concepts.scaling.controls import controls
from strata.concepts.scaling.curves import CURVES, NULLS
from strata.concepts.scaling.tables import compare, last_block, places, sweep

CONCEPT = Concept(
    title="Scaling",
    question="What becomes of the prediction when one block's output is scaled?",
    plain="turns parts down",
    looks_at=("blocks", "next"),
    why="Whether a part matters is best asked by changing it, and nothing else, and watching "
    "what becomes of the answer.",
    order=6,
    views=(sweep, controls, compare, last_block, places),
    chance="Under Beside noise: what a push at random does that is as large as the edit.",
    script=script.script,
    icon=":material/tune:",
    curves=CURVES,
    nulls=NULLS,
    measures={measure.__name__: measure for measure in measures.MEASURES},
)
