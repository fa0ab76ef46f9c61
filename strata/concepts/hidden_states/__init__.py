"""Hidden states: what a model carries from layer to layer for each token, as plain numbers."""

from strata.concepts import Concept
from strata.concepts.hidden_states import measures, script
from strata.concepts.hidden_states.curves import CURVES, NULLS
from strata.concepts.hidden_states.giants import massive, massive_path, without_massive
from strata.concepts.hidden_states.tables import (
    activations,
    archive,
    config_table,
    final_norm,
    outliers,
    output_facts,
    strip,
    summary,
)
from strata.concepts.sinks import sinks

CONCEPT = Concept(
    title="Hidden states",
    question="What does the model carry from layer to layer for each token?",
    plain="what it carries",
    looks_at=("tokens", "blocks"),
    why="Between the words that go in and the word that comes out there is nothing but these "
    "lists of numbers.",
    order=2,
    views=(
        activations,
        summary,
        sinks,
        strip,
        outliers,
        final_norm,
        output_facts,
        config_table,
        archive,
        massive,
        massive_path,
        without_massive,
    ),
    script=script.script,
    icon=":material/stacked_bar_chart:",
    curves=CURVES,
    nulls=NULLS,
    measures={measure.__name__: measure for measure in measures.MEASURES},
)
