"""The Gaussian baseline: are states spread like random directions, and of how many dimensions?"""

from strata.concepts import Concept
from strata.concepts.gaussian_baseline import measures, script
from strata.concepts.gaussian_baseline.near import (
    intrinsic,
    intrinsic_null,
    known_dimension,
)
from strata.concepts.gaussian_baseline.tables import (
    archive,
    decomposition,
    dimensions,
    effective_dimension,
    gaussian_cosines,
    glance,
    histogram,
    normality,
    pair_cosines,
    participation_ratio,
    quantiles,
    summary,
)

__all__ = [
    "CONCEPT",
    "archive",
    "decomposition",
    "dimensions",
    "effective_dimension",
    "gaussian_cosines",
    "glance",
    "histogram",
    "intrinsic",
    "intrinsic_null",
    "known_dimension",
    "normality",
    "pair_cosines",
    "participation_ratio",
    "quantiles",
    "summary",
]

CONCEPT = Concept(
    title="Gaussian baseline",
    question="Are a model's states spread like random directions, and in how many dimensions?",
    plain="chance",
    looks_at=("blocks",),
    why="A cosine of 0.3 says nothing by itself: one must know what directions drawn by "
    "chance would give.",
    order=4,
    views=(
        histogram,
        quantiles,
        summary,
        dimensions,
        normality,
        decomposition,
        glance,
        archive,
        intrinsic,
        known_dimension,
        intrinsic_null,
    ),
    chance="Every histogram has Gaussian noise beside it; under Intrinsic dimension stand shuffled "
    "words and random blocks.",
    chance_under="Intrinsic dimension",
    script=script.script,
    icon=":material/area_chart:",
    measures={measure.__name__: measure for measure in measures.MEASURES},
)
