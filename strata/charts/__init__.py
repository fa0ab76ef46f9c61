"""The chart forms: a table in, a chart out. What a form's charts share is built once.

Axes of tokens carry the position in front of the token ("3 ␣is"): equal labels would merge and hide
data. One file per family of forms, with the columns that each takes in its docstring: `bar`,
`chance` (a number by layer in a band of draws), `context` (tokens among those around them),
`cosine` (matrices of cosines), `curve` (a number by layer, or several), `distribution` (how values
are spread), `funnel` (a class in a lesson), `grid` (tokens and layers, two quantities a cell),
`laminar` (pairs along the layers), `lens` (tokens through the layers, and what a logit is made of),
`matrix` (a size for each cell), `path` (over a map), `point`,
`sweep` (an edit at each block), `tally` (a class's votes). `guess` draws a learner's prediction on
any of them, `subject` puts under each title what it is of and what it leaves out, `titled` breaks
both for the width there is, `direct` names lines where they end; the rest is in `common`.

Imports `display`.
"""

from strata.charts.bar import bars, outliers
from strata.charts.chance import beside_chance
from strata.charts.common import Chart
from strata.charts.context import contexts
from strata.charts.cosine import (
    BY_HAND,
    COLOURS,
    Colours,
    colour_bar,
    colours,
    layer_matrices,
    token_matrices,
)
from strata.charts.curve import by_layer, lines
from strata.charts.distribution import by_part, dimensions, histogram, quantile_quantile
from strata.charts.funnel import funnel
from strata.charts.laminar import Axes, laminar_axes, laminar_profile
from strata.charts.matrix import heatmap, layer_pairs
from strata.charts.path import paths
from strata.charts.point import before_and_after, scatter, strip
from strata.charts.tally import tally

__all__ = [
    "BY_HAND",
    "COLOURS",
    "Axes",
    "Chart",
    "Colours",
    "bars",
    "before_and_after",
    "beside_chance",
    "by_layer",
    "by_part",
    "colour_bar",
    "colours",
    "contexts",
    "dimensions",
    "funnel",
    "heatmap",
    "histogram",
    "laminar_axes",
    "laminar_profile",
    "layer_matrices",
    "layer_pairs",
    "lines",
    "outliers",
    "paths",
    "quantile_quantile",
    "scatter",
    "strip",
    "tally",
    "token_matrices",
]
