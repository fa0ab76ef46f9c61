"""Attention heads: who reads whom, and which of them wrote the answer."""

from strata.concepts import Concept
from strata.concepts.heads import measures, script
from strata.concepts.heads.changed import changed
from strata.concepts.heads.nulls import CURVES, NULLS
from strata.concepts.heads.readers import read_and_written, small
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
    title="Attention heads",
    question="Who reads whom, and who wrote it?",
    plain="reads and writes",
    looks_at=("tokens", "blocks", "next"),
    why="Attention is the only way from token to token. Each of its heads looks somewhere and "
    "writes something: these are two questions, with two answers.",
    order=7,
    views=(
        *(pattern, writes, sums, bias, sink_share, shape, modules, proof),
        *(read_and_written, small, changed),
    ),
    nulls=NULLS,
    curves=CURVES,
    chance="A head that reads all tokens alike gives each of the n up to its own 1 in n; what it "
    "then writes is their mean. The largest weight is that of any head and token, but for the "
    "first token, usually the sink, and the one that reads.",
    script=script.script,
    icon=":material/visibility:",
    measures={measure.__name__: measure for measure in measures.MEASURES},
)

__all__ = ["CONCEPT", "bias", "pattern", "proof", "shape", "sink_share", "sums", "writes"]
