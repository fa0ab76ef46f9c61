"""Jacobian lens: what each state is disposed to say, by how the last states answer to it."""

from strata.concepts import Concept
from strata.concepts.jacobian_lens import measures
from strata.concepts.jacobian_lens.beams import beam, beams, floor, passage_beam
from strata.concepts.jacobian_lens.beside import beside
from strata.concepts.jacobian_lens.script import script
from strata.concepts.jacobian_lens.tables import (
    about,
    cell,
    convergence,
    difference,
    followed,
    grid,
    lens,
    random_grid,
)
from strata.model.fitted import fitted
from strata.model.jacobian import Lens, fit

CONCEPT = Concept(
    title="Jacobian lens",
    question="What is this state disposed to say?",
    plain="reads ahead",
    looks_at=("blocks", "next"),
    why="A state in the middle is not yet in the words of the end. How the end answers to it, on "
    "average over texts, says what it may come to, and controls say how far to trust that.",
    order=6,
    views=(
        lens,
        grid,
        random_grid,
        cell,
        followed,
        difference,
        convergence,
        about,
        floor,
        passage_beam,
        beside,
    ),
    chance="Under Controls stand the same lens on random blocks and a lens fitted on other texts.",
    chance_under="Controls",
    script=script,
    icon=":material/flare:",
    measures={measure.__name__: measure for measure in measures.MEASURES},
)

__all__ = ["CONCEPT", "Lens", "beam", "beams", "fit", "fitted"]
