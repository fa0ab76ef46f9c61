"""What is said of lenses, controls and beams of tables made by hand; what lessons read there."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest

from strata.concepts.jacobian_lens import measures, words
from tests.concepts.said import faults

NAN = math.nan
SHOWN = ["A", " b"]


def grid(*rows: tuple[int, ...], probs: dict[tuple[int, int], float] | None = None) -> pd.DataFrame:
    """The first token's id for each layer (a row) and position; `probs` of the target."""
    cells = [
        {
            "layer": layer,
            "position": position,
            "token": SHOWN[position],
            "token_id": token_id,
            "predicted": f" t{token_id}",
            "final_id": rows[-1][position],
            "target_prob": (probs or {}).get((layer, position), 0.5),
            "top": f"t{token_id} 50.0%",
        }
        for layer, row in enumerate(rows)
        for position, token_id in enumerate(row)
    ]
    return pd.DataFrame(cells)


JACOBIAN, LOGIT = grid((1, 1), (5, 2), (5, 3), (5, 3)), grid((1, 4), (1, 2), (2, 7), (5, 3))


APART = pd.DataFrame(
    [
        (0, 0, 0.1, 0.05, 1, 2, False),
        (0, 1, 2.0, 0.6, 1, 1, True),
        (1, 0, 0.5, 0.3, 5, 1, False),
        (1, 1, 0.2, 0.1, 2, 4, False),
        (2, 0, 0.0, 0.0, 5, 5, True),
        (2, 1, 0.0, 0.0, 3, 3, True),
    ],
    columns=["layer", "position", "kl", "by", "jacobian_id", "logit_id", "same"],
).assign(
    token=SHOWN * 3,
    jacobian=lambda frame: frame["jacobian_id"].map(" t{}".format),
    logit=lambda frame: frame["logit_id"].map(" t{}".format),
    risen_id=lambda frame: frame["jacobian_id"],
    risen=lambda frame: frame["jacobian"],
)


def beams(*, low: float = 1.0, n_texts: int = 8, random: bool = True) -> pd.DataFrame:
    """Scores at layers 0 to 2 and positions 0 and 1, ten times the layer plus the position."""
    rows: list[dict[str, Any]] = []
    for kind, factor in (("jacobian", 1), ("logit", 0), ("random", -1)):
        if kind == "random" and not random:
            continue
        for layer in range(3):
            for position in range(2):
                score = factor * (10.0 * layer + position + 5)
                own = kind != "logit" and n_texts > 1
                ends = (score - 5 + low, score + 1) if own else (NAN, NAN)
                rows.append(
                    {
                        "kind": kind,
                        "n": n_texts,
                        "layer": layer,
                        "position": position,
                        "token": SHOWN[position],
                        "score": score,
                        "low": ends[0],
                        "high": ends[1],
                    }
                )
    return pd.DataFrame(rows)


def steps(*changes: tuple[int, tuple[float, ...]], cosines: tuple[float, ...]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"layer": layer, "n_texts": n, "change": change, "halves": cosines[layer]}
            for n, found in changes
            for layer, change in enumerate(found)
        ]
    )


def way(*differences: float) -> pd.DataFrame:
    """Of `followed`: two tokens, and at each layer how far the first is ahead of the second."""
    each = {"prob": 0.5, "rank": 3, "layer": range(len(differences))}
    return pd.concat(
        [
            pd.DataFrame({**each, "token_id": 5, "predicted": " t5", "other": "", "logit": 1.0}),
            pd.DataFrame({**each, "token_id": 7, "predicted": " t7", "other": "", "logit": 2.0}),
            pd.DataFrame(
                {**each, "token_id": 5, "predicted": " t5", "other": " t7", "logit": differences}
            ).assign(prob=NAN, rank=pd.NA),
        ]
    )


SAID = {
    "lens": (
        words.lens_reading(JACOBIAN, LOGIT, 1, 0),
        "At layer 1 the Jacobian lens names “␣t5” after “A” (position 0) and the logit lens “␣t1”. "
        "“␣t5”, the model's answer, leads by the Jacobian lens for good from layer 1 of 3 on and "
        "by the logit lens at layer 3 only, the very last. Both name the same first token in 2 of "
        "6 cells below the last layer.",
    ),
    "both alike": (
        words.lens_reading(JACOBIAN, JACOBIAN, 0, 1),
        "At layer 0 both lenses name “␣t1” after “␣b” (position 1). “␣t3”, the model's answer, "
        "leads by both lenses for good from layer 2 of 3 on. Both name the same first token in all "
        "6 cells below the last layer.",
    ),
    "a position that is not drawn": (
        words.lens_reading(JACOBIAN, JACOBIAN, 2, 99),
        "At layer 2 both lenses name “␣t3” after “␣b” (position 1). “␣t3”, the model's answer, "
        "leads by both lenses for good from layer 2 of 3 on. Both name the same first token in all "
        "6 cells below the last layer.",
    ),
    "difference": (
        words.difference_reading(APART, 0),
        "At position 0, layer 1, both are furthest apart, by 0.5 nats: there the Jacobian lens "
        "names “␣t5” and the logit lens “␣t1”, and it raises “␣t5” most, by 30%. Both name the "
        "same first token in 1 of 4 cells below the last layer.",
    ),
    "difference in a cell that they name alike": (
        words.difference_reading(APART, 1),
        "At position 1, layer 0, both are furthest apart, by 2 nats: there the Jacobian lens names "
        "“␣t1” as the logit lens does, and it raises “␣t1” most, by 60%. Both name the same first "
        "token in 1 of 4 cells below the last layer.",
    ),
    "no difference": (
        words.difference_reading(APART.assign(kl=0.0, same=True), 0),
        "Both lenses say the same at every layer of position 0. Both name the same first token in "
        "all 4 cells below the last layer.",
    ),
    "controls": (
        words.controls_reading(JACOBIAN, {"logit": LOGIT, "random": JACOBIAN}, 1, 0),
        "At layer 1 after “A” (position 0) the Jacobian lens names “␣t5”, random blocks “␣t5” and "
        "the logit lens “␣t1”. Random blocks and the Jacobian lens name the same first token in "
        "all 6 cells below the last layer. The logit lens and the Jacobian lens name the same "
        "first token in 2 of 6 cells below the last layer. What random blocks say too was not "
        "learnt.",
    ),
    "controls without random blocks": (
        words.controls_reading(JACOBIAN, {"logit": JACOBIAN}, 2, 9),
        "At layer 2 after “␣b” (position 1) the Jacobian lens names “␣t3” and the logit lens "
        "“␣t3”. The logit lens and the Jacobian lens name the same first token in all 6 cells "
        "below the last layer.",
    ),
    "settling": (
        words.settling_reading(
            steps((2, (0.9, 0.5)), (4, (0.4, 0.1)), (5, (0.2, 0.05)), cosines=(0.5, 0.987))
        ),
        "From 4 texts to 5 J of layer 0 changed by 20% of its norm, the most, and that of layer 1 "
        "by 5%, the least. J from one half of the texts and from the other agree best at layer 1, "
        "to a cosine of 0.99, and worst at layer 0, to a cosine of 0.50.",
    ),
    "settling of one layer": (
        words.settling_reading(steps((2, (0.25,)), cosines=(-0.1,))),
        "From 1 text to 2 J of layer 0 changed by 25% of its norm; one half of the texts and the "
        "other agree to a cosine of −0.10.",
    ),
    "beam": (
        words.beam_reading(beams(), ["␣x"], ["A", "␣b"], 2, 0),
        "At layer 2 the state of “␣b” (position 1) has the highest score for “␣x”, 26. For “A” "
        "(position 0) it is 25 there (95% interval 21 to 26); random blocks give −25 and the logit "
        "lens 0.",
    ),
    "beam so far": (
        words.beam_reading(beams(n_texts=1, random=False), ["␣x"], ["A", "␣b"], 0, 1),
        "At layer 0 the state of “␣b” (position 1) has the highest score for “␣x”, 6. For “␣b” "
        "(position 1) it is 6 there; the logit lens gives 0.",
    ),
    "beam of a difference": (
        words.beam_reading(beams(random=False), ["␣x", "y"], ["A", "␣b"], 0, 1),
        "At layer 0 the state of “␣b” (position 1) has the highest score for “␣x” minus “y”, 6. "
        "For “␣b” (position 1) it is 6 there (95% interval 2 to 7); the logit lens gives 0.",
    ),
    "difference followed": (
        words.followed_reading(way(-1, 0, 2, 3), way(-1, -2, -3, 3), (5, 7), 4),
        "At layer 3, where both lenses are the model itself, the log-probability of “␣t5” minus "
        "that of “␣t7” is 3 nats at position 4: “␣t5” is 20.1 times as likely as “␣t7”. “␣t5” is "
        "ahead by the Jacobian lens for good from layer 2 of 3 on and by the logit lens at layer 3 "
        "only, the very last.",
    ),
    "difference of which the other is ahead": (
        words.followed_reading(way(-1, 0, -0.5), way(-1, 9, -0.5), (5, 7), 0),
        "At layer 2, where both lenses are the model itself, the log-probability of “␣t5” minus "
        "that of “␣t7” is −0.5 nats at position 0: “␣t7” is 1.65 times as likely as “␣t5”. “␣t7” "
        "is ahead by both lenses at layer 2 only, the very last.",
    ),
    "difference of equals": (
        words.followed_reading(way(-1, 0), way(1, 0), (5, 7), 0),
        "At layer 1, where both lenses are the model itself, the log-probability of “␣t5” minus "
        "that of “␣t7” is 0 nats at position 0: “␣t5” and “␣t7” are equally likely.",
    ),
    "sure": (
        words.passages_reading(beams(), 0, 0),
        "By 8 passages it is above 0 at layer 0, and above random blocks.",
    ),
    "not sure": (
        words.passages_reading(beams(low=-15), 0, 0),
        "By 8 passages the sign is not sure at layer 0; its interval and that of random blocks "
        "overlap, so only more passages can tell them apart.",
    ),
    "without random blocks": (
        words.passages_reading(beams(random=False), 0, 0),
        "By 8 passages it is above 0 at layer 0.",
    ),
    "one passage": (
        words.passages_reading(beams(n_texts=1), 0, 0),
        "One passage gives no interval: another one may give another score.",
    ),
}


@pytest.mark.parametrize("name", SAID)
def test_what_is_said_of_a_table(name: str) -> None:
    said, expected = SAID[name]
    assert said == expected
    assert faults(said) == []


def test_what_the_lens_is_and_is_not() -> None:
    said = words.what({"n_texts": 1_200})
    assert "over 1,200 texts" in said
    assert "identity" in said
    assert "A tuned lens" in said
    assert faults(said) == []


def test_a_difference_marks_the_cells_in_which_lenses_agree() -> None:
    first = grid((1, 1), (5, 2), (5, 3)).assign(norm=1.0, shown="x")
    rows = words.apart(first, APART)
    assert (rows["final_id"] == rows["token_id"]).tolist() == APART["same"].tolist()
    assert rows["predicted"].tolist() == APART["risen"].tolist()
    assert rows["top"].iloc[2].splitlines() == [
        "Jacobian lens ␣t5",
        "logit lens ␣t1",
        "raises ␣t5 by 30.0%",
        "KL 0.50 nats",
    ]


def test_shares_of_layers_at_which_grids_agree() -> None:
    share = words.alike(JACOBIAN, {"logit": LOGIT, "random": JACOBIAN})
    assert share[share["kind"] == "logit"]["value"].tolist() == [0.5, 0.5, 0.0, 1.0]
    assert share[share["kind"] == "random"]["value"].tolist() == [1.0] * 4


def test_what_lessons_read() -> None:
    assert measures.share_final(JACOBIAN, 3) == 1
    assert measures.share_final(JACOBIAN, 1) == 0.5
    assert measures.settled_layer(JACOBIAN, 0) == 1
    assert measures.settled_layer(JACOBIAN, 1) == 2
    assert measures.settled_layer(grid((5, 5), (5, 5)), 1) == 0
    assert measures.leader(JACOBIAN, 1, 1) == " t2"
    frame = steps((2, (0.9, 0.1)), (4, (0.2, 0.3)), cosines=(0.5, 0.9))
    assert measures.least_settled_layer(frame) == 1
    assert measures.least_settled_layer(frame.iloc[:0]) is None
    assert measures.random_share(beams(), 1, 0) == -1
    assert math.isnan(measures.random_share(beams().assign(score=-1.0), 1, 0))
    assert measures.random_share(beams().assign(score=lambda f: f["position"] + 1.0), 1) == 1
    assert measures.beam_position(own(), 1) == 1
    assert [measures.sure_of(own(low=low), 0, 0) for low in (1, -15)] == [1, 0]
    assert measures.sure_of(own(), 2) == 1
    assert measures.sure_of(own().assign(low=-3.0, high=-1.0), 0, 0) == -1


def own(**how: Any) -> pd.DataFrame:
    """The table of `passage_beam`."""
    frame = beams(**how)
    return frame[frame["kind"] == "jacobian"].drop(columns="kind").reset_index(drop=True)
