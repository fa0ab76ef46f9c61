"""Patching: put states of one run into another, and see where the answer is carried."""

from strata.concepts import Concept
from strata.concepts.patching import script
from strata.concepts.patching.tables import attribution_map, pair, patch_map
from strata.concepts.patching.views import both, cells, doctor, estimate, facts

CONCEPT = Concept(
    title="Patching",
    question="Where is the answer carried?",
    plain="swaps states",
    looks_at=("tokens", "blocks", "next"),
    why="Put one state of a run into the run of another prompt: if the answer comes along, that "
    "state carried what makes the difference.",
    order=7,
    views=(cells, estimate, facts, doctor, both),
    script=script.script,
    icon=":material/swap_horiz:",
)

__all__ = ["CONCEPT", "attribution_map", "pair", "patch_map"]
