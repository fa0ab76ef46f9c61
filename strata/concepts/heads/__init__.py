"""Heads: who reads whom, and who wrote it?"""

from strata.concepts import Concept
from strata.concepts.heads import script
from strata.concepts.heads.script import modules
from strata.concepts.heads.tables import (
    bias,
    pattern,
    proof,
    shape,
    sink_share,
    sums,
    writes,
)

CONCEPT = Concept(
    title="Heads",
    question="Who reads whom, and who wrote it?",
    plain="splits attention",
    looks_at=("tokens", "blocks", "next"),
    why="Attention is done by several heads beside one another. Each reads tokens of its own "
    "choice and writes by itself, so one can ask which of them wrote the answer.",
    order=8,
    views=(pattern, writes, sums, bias, sink_share, shape, modules, proof),
    script=script.script,
    icon=":material/hub:",
)

__all__ = ["CONCEPT", "bias", "pattern", "proof", "shape", "sink_share", "sums", "writes"]
