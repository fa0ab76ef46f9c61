"""What is said of attention heads on models of other families, of ends and of ties."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from strata.concepts.heads import measures, words
from strata.model import Model
from tests.concepts.heads.said import said
from tests.concepts.said import Run, faults

SHOWN = ["The", "␣capital", "␣is"]


@pytest.mark.parametrize("text", ["abc abd abe", "a"])
@pytest.mark.parametrize("family", ["gemma2", "gpt2", "qwen2"])
def test_it_is_true_of_other_families(tiny: Callable[[str], Model], family: str, text: str) -> None:
    told = list(said(Run(tiny(family), text)))
    names = {each.name for each in told}
    assert names >= {"pattern_reading", "written_reading", "explains_reading"}
    for each in told:
        assert not faults(each.sentence), each.sentence
        assert all(claim in each.sentence for claim in each.claims), each


def heads(**columns: Any) -> pd.DataFrame:
    """Three heads: one that leads, one that reads the same and writes nothing, one on the sink."""
    rows: dict[str, Any] = {
        "block": [0, 1, 1],
        "head": [0, 0, 1],
        "sink_share": [0.1, 0.2, 1.0],
        "key": pd.array([1, 1, None], dtype="Int64"),
        "token": ["a", "a", None],
        "weight": [0.6, 0.8, float("nan")],
        "same": [0.6, 0.8, 0.0],
        "logit": [2.0, 0.1, -0.3],
        "norm": [9.0, 8.0, 1.0],
    }
    return pd.DataFrame({**rows, **columns})


def test_who_reads_the_same_need_not_write_the_same() -> None:
    told = words.explains_reading(heads(), SHOWN)
    assert told.startswith("Head 0 of block 0 reads, sinks left out, “␣capital” (position 1) most")
    assert "Of 1 other head that gives that token at least half as much, 0 write a tenth" in told
    told = words.explains_reading(heads(logit=[2.0, 0.2, 0.0], same=[0.6, 0.8, 0.3]), SHOWN)
    assert "Of 2 other heads that give that token at least half as much, 1 writes a tenth" in told
    alone = words.explains_reading(heads(same=[0.6, 0.29, 0.0], sink_share=0.0), SHOWN)
    assert alone.startswith("Head 0 of block 0 reads “␣capital” (position 1) most, with 60%")
    assert "no other head gives that token half as much" in alone
    faint = heads(weight=[0.02, 0.8, 0.1], sink_share=[0.97, 0.1, 0.1])
    told = words.explains_reading(faint, SHOWN)
    assert "gives 97% of its attention to attention sinks and to no other" in told
    told = words.explains_reading(faint.assign(sink_share=0.0), SHOWN)
    assert "gives no token more than 2% of its attention: where it looks" in told
    none = words.explains_reading(heads(logit=[-1.0, -2.0, -3.0]), SHOWN)
    assert none.startswith("No head writes towards the target")


def test_the_head_that_reads_and_writes_little_reads_what_the_leading_one_reads() -> None:
    idle = words.idle_of(heads())
    assert idle is not None
    assert (idle["block"], idle["head"]) == (1, 0)
    assert words.idle_of(heads(logit=[2.0, 1.0, -0.3])) is None, "all write"
    other = words.idle_of(heads(key=pd.array([1, 2, None], dtype="Int64"), same=[0.6, 0.2, 0.0]))
    assert other is not None
    assert other["key"] == 2, "nobody else reads that token"


def test_of_one_head_it_is_said_what_it_reads() -> None:
    told = words.head_reading(heads(), 1, 1, SHOWN, "␣a", "")
    assert told.startswith("Head 1 of block 1 reads attention sinks only.")
    assert told.endswith(
        "which moves the logit of “␣a” by −0.30 against the average token's, number 3 of 3 heads."
    )
    told = words.head_reading(heads(), 0, 0, SHOWN, "␣a", "␣b")
    assert told.endswith("of “␣a” by +2.00 against that of “␣b”, number 1 of 3 heads.")


def test_where_no_head_writes_towards_the_target_it_is_said() -> None:
    told = words.written_reading(heads(logit=[-0.03, -0.1, -0.3]), "␣a", "␣b", 2, SHOWN)
    assert told.startswith(
        "At “␣is” (position 2) no head helps to put “␣a” above “␣b”; most against it is head 1 of "
        "block 1, −0.30. All 3 heads together add −0.43"
    )
    some = words.written_reading(heads(), "␣a", "", 2, SHOWN)
    assert "head 0 of block 0 does most to put “␣a” above the average token: +2.00" in some


def test_a_pattern_names_the_sink_and_the_token_itself() -> None:
    row = pd.DataFrame({"key": [0, 1, 2], "weight": [0.1, 0.2, 0.7]})
    told = words.pattern_reading(row, 3, 4, 2, SHOWN, [0])
    assert "most of all the token itself, 70% of its attention; 10% goes to the attention" in told
    sunk = words.pattern_reading(row.assign(weight=[0.7, 0.2, 0.1]), 3, 4, 2, SHOWN, [0])
    assert "the attention sink “The” (position 0) most, with 70%" in sunk
    assert "then “␣capital” (position 1), 20% of its attention." in sunk
    only = words.pattern_reading(row.head(1).assign(weight=1.0), 3, 4, 1, SHOWN, [0])
    assert only.endswith("nothing but attention sinks.")


SINKS = pd.DataFrame(
    {
        "block": [0, 0, 1, 1],
        "head": [0, 1, 0, 1],
        "share": [0.5, 0.95, 0.0, 0.8],
        "nowhere": 0.0,
        "from_sinks": [1.0, 1.9, 0.0, 1.0],
        "from_others": [4.0, 0.4, 5.0, 1.0],
    }
)


def test_what_sinks_give_is_compared_with_what_others_give() -> None:
    part = words.with_part(SINKS)
    assert part["part"].round(3).tolist() == [0.2, 0.826, 0.5]
    assert part["worth"].round(3).tolist() == [0.25, 0.25, 0.25]
    assert "all 3 heads" in words.little_reading(SINKS)
    assert "0.25 times as long" in words.little_reading(SINKS)
    assert "writes less than" in words.little_reading(SINKS)
    as_long = SINKS.assign(from_sinks=4 * SINKS["from_sinks"])
    assert "writes less than" not in words.little_reading(as_long), "no conclusion that is not so"
    unknown = SINKS.assign(from_sinks=float("nan"), from_others=float("nan"))
    assert words.little_reading(unknown).endswith("write from the sinks alone is not known.")
    none = SINKS.assign(share=0.0, from_sinks=0.0)
    assert words.little_reading(none) == "No head reads the sinks, so none writes from there."
    only = SINKS.assign(share=1.0, from_others=0.0)
    assert words.little_reading(only).startswith("The heads read the sinks only, so there is")
    apart = SINKS.assign(share=[0.5, 0.0, 0.0, 0.0], from_others=[0.0, 1.0, 1.0, 1.0])
    assert words.little_reading(apart).startswith("No head writes both from the sinks and from")
    assert "1 of 4 heads" in words.sink_reading(SINKS, SHOWN, [0])
    first = words.sink_reading(SINKS, SHOWN, [])
    assert first.startswith("The first token, “The” (position 0), gets 56% of the attention")
    assert first.endswith("No token of this prompt is an attention sink by its norm.")


def changes(**columns: Any) -> pd.DataFrame:
    rows: dict[str, Any] = {
        "edit": ["clean", "head", "other", "other", "noise"],
        "block": 2,
        "head": pd.array([None, 1, 0, 2, 1], dtype="Int64"),
        "logprob": [-0.2, -2.2, -0.3, -2.5, -0.4],
        "logit": [9.0, 6.0, 8.9, 6.0, 8.8],
        "prob": [0.8, 0.1, 0.7, 0.1, 0.7],
        "top": [" a", " b", " a", " b", " a"],
    }
    return pd.DataFrame({**rows, **columns})


def test_a_change_is_told_with_its_controls() -> None:
    told = words.changed_reading(changes(), "␣a", "", "left out", -2.5)
    assert "With head 1 of block 2 left out" in told
    assert "goes from −0.20 nats to −2.20 nats (80% to 10%)" in told
    assert "“␣b” comes first instead of “␣a”" in told
    assert "would change by −2.50, and it changes by −3.00: the rest is what later" in told
    same = words.changed_reading(changes(), "␣a", "␣b", "left out", -2.9)
    assert "against “␣b” would change by −2.90, and so it does: −3.00." in same
    controls = words.controls_reading(changes())
    assert controls.startswith("Beside it 1 of 2 other heads and 0 of 1 random run move")
    assert controls.endswith("what they do as well is no evidence for this head.")
    alone = words.controls_reading(changes(logprob=[-0.2, -2.2, -0.3, -0.5, -0.4]))
    assert alone.startswith("Beside it none of the 2 other heads and 0 of 1 random run move")
    assert "nothing else that was tried does what this change does" in alone
    still = changes(logprob=[-0.2, -0.2, -0.3, -0.4, -0.4], top=" a")
    assert "stays at −0.20 nats; “␣a” stays first" in words.changed_reading(
        still, "␣a", "", "left out"
    )
    assert "hardly anything" in words.controls_reading(still)


def test_lessons_measure_what_the_tables_say() -> None:
    frame = heads()
    assert measures.top_block(frame) == 0
    assert measures.top_reads(frame) == 1
    assert measures.readers_that_write(frame) == 0, "the leading head is none of them"
    assert measures.readers_that_write(heads(logit=[2.0, 0.2, 0.0], same=[0.6, 0.8, 0.3])) == 0.5
    assert math.isnan(measures.readers_that_write(heads(same=[0.6, 0.2, 0.0])))
    assert measures.top_reads(heads(logit=[0.0, 0.1, 0.3])) is None, "it reads the sink only"
    assert measures.mean_sink_share(SINKS) == pytest.approx(0.5625)
    assert measures.sink_worth(SINKS) == pytest.approx(0.25)
    assert measures.logprob_change(changes()) == pytest.approx(-2.0)
    assert measures.top_after(changes()) == " b"
