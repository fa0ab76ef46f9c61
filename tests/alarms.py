"""How often a set raises an alarm where there is nothing, and how often it finds what is there.

`python -m tests.alarms` draws sets of pairs with a seed, without an effect and with one, asks the
very functions that the page asks, and prints what became of it; `--write` puts that into
docs/evidence.md. It takes about a minute, so it is no part of continuous integration; a small
version is a test (tests/concepts/evidence/test_alarms.py).
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from strata.concepts.evidence import statistics
from strata.concepts.evidence.compared import Compared, Hypothesis, differences, outcome
from strata.concepts.evidence.statistics import LEVEL
from strata.ui.figures.evidence import seen_before
from strata.ui.figures.written import Ledger

PAGE = Path(__file__).resolve().parents[1] / "docs" / "evidence.md"
BEGIN, END = "<!-- alarms -->\n", "<!-- end of alarms -->"
LAYERS, PAIRS, SIZE = 31, 24, 0.8
BAND = slice(12, 17)  # layers that have the effect, where there is one

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Kind:
    """One kind of data. `persistence`: how much of a layer's number is that of the layer below, as
    in a stream to which each block adds a little."""

    name: str
    persistence: float
    heavy: bool = False  # by Student's t with 3 degrees of freedom: some prompts lie far out
    paired: bool = True
    pairs: int = PAIRS


KINDS = (
    Kind("layers alike (0.9 of the layer below), Gaussian", 0.9),
    Kind("layers independent, Gaussian", 0.0),
    Kind("layers alike, heavy tails", 0.9, heavy=True),
    Kind("layers alike, 12 pairs (a half), Gaussian", 0.9, pairs=12),
    Kind("layers alike, no pairs: 24 prompts against 24", 0.9, paired=False),
)


def numbers(kind: Kind, rng: np.random.Generator) -> Floats:
    """(pairs, layers) noise of deviation 1 (with heavy tails: of a spread as wide)."""
    shape = kind.pairs, LAYERS
    noise = rng.standard_t(3, shape) / np.sqrt(3) if kind.heavy else rng.standard_normal(shape)
    found = np.empty(shape)
    found[:, 0] = noise[:, 0]
    keep = kind.persistence
    for layer in range(1, LAYERS):
        found[:, layer] = keep * found[:, layer - 1] + np.sqrt(1 - keep**2) * noise[:, layer]
    return found


def rates(kind: Kind, size: float, draws: int, n_signs: int, seed: int = 0) -> tuple[float, float]:
    """In which share of draws any layer survives the correction, and any layer that has the effect
    (`size` deviations; of no pairs, of one prompt)."""
    rng = np.random.default_rng(seed)
    alarms = found = 0
    for draw in range(draws):
        a = numbers(kind, rng)
        a[:, BAND] += size
        if kind.paired:
            told = statistics.paired(a, n_signs, seed=draw)
        else:
            told = statistics.independent(a, numbers(kind, rng), n_signs, seed=draw)
        sure = told.p_layers <= LEVEL
        alarms += bool(sure.any())
        found += bool(sure[BAND].any())
    return alarms / draws, found / draws


def second_looks(kind: Kind, draws: int, seed: int = 0) -> tuple[float, float]:
    """In which share of draws without an effect the page says of a hypothesis that it holds on the
    half that was held out, where a second one is picked off the picture of the first: that the
    number is larger at all layers, and then the surest of the layers that this has shown, in the
    direction that is seen there. And in which share it would, if it did not tell that the numbers
    of the second were on the screen before."""
    rng, about = np.random.default_rng(seed), ("a number", ("a", "b"))
    told = counted = 0
    for _ in range(draws):
        a = numbers(kind, rng)
        rows = {name: tuple(range(i, 2 * len(a), 2)) for i, name in enumerate("ab")}
        found = Compared(rows, {"a": a, "b": np.zeros_like(a)}, paired=True, left_out=0)
        ledger, first = Ledger(), Hypothesis(0, LAYERS - 1, larger=True)
        ledger.add(about, first, seen=seen_before(ledger, about, first, LAYERS - 1))
        shown = differences(found)
        best = shown.loc[shown["t"].abs().idxmax()]
        layer = int(best["layer"])
        second = Hypothesis(layer, layer, larger=bool(best["difference"] > 0))
        ledger.add(about, second, seen=seen_before(ledger, about, second, LAYERS - 1))
        holds = {
            claim: float(outcome(found, claim)["p"].iloc[0]) * ledger.number <= LEVEL
            for claim in (first, second)
        }
        counted += any(holds.values())
        told += any(yes and not ledger.is_late(about, claim) for claim, yes in holds.items())
    return told / draws, counted / draws


def report(draws: int, n_signs: int) -> str:
    """A table, a row a kind."""
    rows = [
        "| data | alarms without an effect | found, 0.8 deviations at 5 of 31 layers |",
        "|---|---|---|",
    ]
    for kind in KINDS:
        none, _ = rates(kind, 0.0, draws, n_signs)
        _, some = rates(kind, SIZE, draws, n_signs, seed=1)
        rows.append(f"| {kind.name} | {none:.1%} | {some:.1%} |")
        print(rows[-1], file=sys.stderr, flush=True)
    told = f"{draws:,} seeded draws each, {n_signs:,} signs or groups a draw."
    says, would = second_looks(KINDS[3], draws)
    again = (
        "On the half that was held out, of data without an effect (12 pairs, layers alike), first "
        "a hypothesis of all layers, then one of the surest layer that this has shown: the page "
        f"says of one of them that it holds in {says:.1%}; if it only multiplied by their number, "
        f"it would in {would:.1%}."
    )
    return "\n".join([*rows, "", told, "", *textwrap.wrap(again, 100), ""])


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.alarms", description=__doc__)
    parser.add_argument("--draws", type=int, default=2_000)
    parser.add_argument("--signs", type=int, default=1_999)
    parser.add_argument("--write", action="store_true", help="put it into docs/evidence.md")
    chosen = parser.parse_args()
    told = report(chosen.draws, chosen.signs)
    print(told)
    if chosen.write:
        before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
        PAGE.write_text(before + BEGIN + told + END + rest.partition(END)[2], "utf-8")


if __name__ == "__main__":
    main()
