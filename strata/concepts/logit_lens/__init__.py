"""Logit lens: what each layer's state would say if the model stopped there."""

from strata.concepts import Concept
from strata.concepts.logit_lens import measures, script
from strata.concepts.logit_lens.contributions import attribution, proof, target_logit
from strata.concepts.logit_lens.curves import CURVES, NULLS
from strata.concepts.logit_lens.nearest import nearest
from strata.concepts.logit_lens.peaks import peaks
from strata.concepts.logit_lens.script import modules
from strata.concepts.logit_lens.tables import (
    cell,
    followed,
    grid,
    lens,
    mistakes,
    statistics,
    write_norms,
)
from strata.concepts.logit_lens.written import written

CONCEPT = Concept(
    title="Logit lens",
    question="What would the model say if it stopped at this layer?",
    plain="reads midway",
    looks_at=("blocks", "next"),
    why="The answer is not there at once. One can watch it come, layer by layer, and see "
    "which part of the model wrote it.",
    order=5,
    views=(
        lens,
        statistics,
        attribution,
        target_logit,
        write_norms,
        grid,
        cell,
        followed,
        peaks,
        proof,
        written,
        nearest,
        mistakes,
        modules,
    ),
    script=script.script,
    icon=":material/search_insights:",
    curves=CURVES,
    nulls=NULLS,
    measures={measure.__name__: measure for measure in measures.MEASURES},
)
