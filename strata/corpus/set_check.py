"""`python -m strata sets check`: is a set of prompts what it should be, on a model?"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from strata.corpus.sets import PromptSet, problems, read, sets
from strata.errors import InputError

if TYPE_CHECKING:
    from strata.model import Model

FEWEST_PAIRS = 24
FEWEST_FIRST = 20  # of 24 pairs in which every word that is expected ranks first


@dataclass(frozen=True)
class Checked:
    """What was found of a set: how many prompts, pairs and conditions, of how many pairs all
    prompts have as many tokens, how many pairs expect a word, and in how many of these every one
    ranks first."""

    prompts: int
    pairs: int
    conditions: int
    same_length: int
    expecting: int
    first: int

    @property
    def ok(self) -> bool:
        """Whether it is as Strata's own sets are."""
        enough = self.first * FEWEST_PAIRS >= self.expecting * FEWEST_FIRST
        return self.pairs >= FEWEST_PAIRS and self.same_length == self.pairs and enough


def check(model: Model, chosen: PromptSet) -> Checked:
    """Look at the lengths of a set's prompts, and run those after which a word should come."""
    import torch  # here, because it takes seconds to import

    wanted = list(dict.fromkeys(row.prompt for row in chosen.rows if row.expected))
    ahead: dict[str, str] = {}
    if wanted:
        traces = model.capture_many(wanted, states_only=True)
        last = model.unembed(torch.stack([trace.hidden[-1, -1] for trace in traces]))
        words = model.decode(last.argmax(dim=-1))
        ahead = {prompt: word.strip() for prompt, word in zip(wanted, words, strict=True)}
    same_length = expecting = first = 0
    for pair in chosen.pairs:
        rows = [row for row in chosen.rows if row.pair == pair]
        same_length += len({len(model.encode(row.prompt)) for row in rows}) == 1
        asked = [row for row in rows if row.expected]
        expecting += bool(asked)
        first += bool(asked) and all(ahead[row.prompt] == row.expected for row in asked)
    n = len(chosen.rows), len(chosen.pairs), len(chosen.conditions)
    return Checked(*n, same_length, expecting, first)


def add_parser(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    load: Callable[[str | None], Model],
) -> None:
    """The command `sets` of the command line."""
    parser = commands.add_parser(
        "sets",
        help="check sets of prompts",
        description="Sets are CSV files in the folder sets/ (or the one that STRATA_SETS names); "
        "docs/evidence.md says what stands in them.",
    )
    what = parser.add_subparsers(required=True, metavar="WHAT")
    checked = what.add_parser(
        "check",
        help="check set files on a real model",
        description="Print for each set how many pairs it has, in how many all prompts have as "
        "many tokens, and in how many every word that is expected ranks first. The exit code is 0 "
        f"if each has {FEWEST_PAIRS} pairs, all of one length, and the words rank first in "
        f"{FEWEST_FIRST} of {FEWEST_PAIRS}, and 1 otherwise.",
        epilog="example: python -m strata sets check sets/number.csv",
    )
    checked.add_argument("files", metavar="FILE", nargs="*", type=Path, help="by default all")
    checked.add_argument("--model", help="an id from `models`; by default the bundled one")
    checked.set_defaults(run=lambda chosen: _check(chosen, load))


def _check(chosen: argparse.Namespace, load: Callable[[str | None], Model]) -> int:
    found = {path.stem: _read(path) for path in chosen.files} or sets()
    wrong = [] if chosen.files else problems()
    model = load(chosen.model)
    print(f"{'set':12} {'prompts':>7} {'pairs':>5} {'one length':>10} {'ranks first':>11}")
    for name, each in found.items():
        told = check(model, each)
        ranks = f"{told.first} of {told.expecting}" if told.expecting else "-"
        length = f"{told.same_length} of {told.pairs}"
        verdict = "" if told.ok else "  not as it should be"
        print(f"{name:12} {told.prompts:7} {told.pairs:5} {length:>10} {ranks:>11}{verdict}")
        wrong += [] if told.ok else [name]
    for sentence in wrong:
        if sentence not in found:
            print(sentence)
    return 1 if wrong else 0


def _read(path: Path) -> PromptSet:
    try:
        return read(path.read_bytes(), path.stem)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from None
