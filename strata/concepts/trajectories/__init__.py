"""Trajectories: each token's path through the layers, on a map of all states, beside a null."""

from strata.concepts import Concept
from strata.concepts.trajectories import measures, script
from strata.concepts.trajectories.curves import CURVES, NULLS
from strata.concepts.trajectories.shape import shape, shape_by_layer
from strata.concepts.trajectories.tables import (
    contexts,
    gradient_map,
    gradient_norms,
    joint_map,
    project,
    random_walk,
    state_map,
    trajectories,
)

__all__ = [
    "CONCEPT",
    "contexts",
    "gradient_map",
    "gradient_norms",
    "joint_map",
    "project",
    "random_walk",
    "shape",
    "shape_by_layer",
    "state_map",
    "trajectories",
]

CONCEPT = Concept(
    title="Trajectories",
    question="Which way does each token travel through the layers?",
    plain="its path",
    looks_at=("tokens", "blocks"),
    why="One picture of every token's way through the model, and how far such a picture can "
    "be believed.",
    order=7,
    views=(
        trajectories,
        state_map,
        gradient_map,
        joint_map,
        gradient_norms,
        contexts,
        shape,
        shape_by_layer,
    ),
    nulls=NULLS,
    chance="Under Against chance stands a random walk with the same steps.",
    script=script.script,
    curves=CURVES,
    icon=":material/timeline:",
    measures={measure.__name__: measure for measure in measures.MEASURES},
)
