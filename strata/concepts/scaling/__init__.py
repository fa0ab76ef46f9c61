"""Scaling: multiply what one block hands on, and see what becomes of the prediction."""

from strata.concepts import Concept
from strata.concepts.scaling import measures, script
from strata.concepts.scaling.tables import compare, last_block, places, sweep

CONCEPT = Concept(
    title="Scaling",
    question="What becomes of the prediction when one block's output is scaled?",
    order=6,
    views=(sweep, compare, last_block, places),
    script=script.script,
    icon=":material/tune:",
    measures={measure.__name__: measure for measure in measures.MEASURES},
)
