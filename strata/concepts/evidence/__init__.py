"""Evidence: the same number over many prompts, with an interval, beside what chance would give."""

from strata.concepts import Concept
from strata.concepts.evidence import measures, script
from strata.concepts.evidence.probing import probe
from strata.concepts.evidence.tables import check, values

CONCEPT = Concept(
    title="Evidence",
    question="Is it so for many prompts, or for one?",
    plain="over many prompts",
    looks_at=("text", "blocks"),
    why="One picture is one prompt. Over a set of them a number has a spread, and only what is "
    "larger than chance would give is more than a story.",
    order=10,
    views=(values, probe, check),
    chance="Under One number it is a control; in the figures of a probe the bands are what "
    "shuffled labels give.",
    chance_under="One number",
    script=script.script,
    icon=":material/stacked_line_chart:",
    measures={measure.__name__: measure for measure in measures.MEASURES},
)
