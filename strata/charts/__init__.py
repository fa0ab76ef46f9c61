"""A handful of chart forms: a table in, a chart out. Each form's Vega-Lite spec is built once.

Axes of tokens carry the position in front of the token ("3 ·is"): equal labels would merge and
hide data. One file per family of forms: `bar`, `curve` (a number by layer), `matrix` (a colour
for each cell), `path` (over a map), `point`; what they share is in `common`.
"""

from strata.charts.bar import bars, outliers
from strata.charts.common import Chart
from strata.charts.curve import by_layer
from strata.charts.matrix import heatmap
from strata.charts.path import paths
from strata.charts.point import before_and_after, strip

__all__ = ["Chart", "bars", "before_and_after", "by_layer", "heatmap", "outliers", "paths", "strip"]
