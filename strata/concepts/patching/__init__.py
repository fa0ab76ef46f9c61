"""Patching: put states of one run into another, and see where the answer is carried."""

from strata.concepts import Concept
from strata.concepts.patching import measures, script
from strata.concepts.patching.nulls import NULLS
from strata.concepts.patching.read_elsewhere import read_elsewhere
from strata.concepts.patching.tables import attribution_map, head_map, pair, patch_map
from strata.concepts.patching.views import both, cells, doctor, estimate, facts, failures, heads

CONCEPT = Concept(
    title="Patching",
    question="Where is the answer carried?",
    plain="swaps states",
    looks_at=("tokens", "blocks", "next"),
    why="Put one state of a run into the run of another prompt: if the answer comes along, that "
    "state carried what makes the difference.",
    order=7,
    views=(cells, estimate, failures, heads, both, facts, doctor, read_elsewhere),
    nulls=NULLS,
    chance="Under Exact map, with the stream as the part: what any state as long would do at the "
    "token that is chosen.",
    script=script.script,
    icon=":material/swap_horiz:",
    measures={measure.__name__: measure for measure in measures.MEASURES},
)

__all__ = ["CONCEPT", "attribution_map", "head_map", "pair", "patch_map"]
