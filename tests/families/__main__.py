"""`python -m tests.families`: what Strata makes of every causal language model that transformers
knows, and of every wrapper for pictures or sound; a line each, then the counts.

`--markdown` prints the table of docs/models.md, `--only TEXT` those whose name holds the text.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch
import transformers

from tests.families.build import CAUSAL, WRAPPERS
from tests.families.outcome import Outcome, outcome

_KINDS = ("writes", "lens", "refused", "not built", "wrong")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="types whose name holds this text")
    parser.add_argument("--markdown", action="store_true", help="print docs/models.md's table")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    for title, types, wrapped in (
        ("Causal language models", CAUSAL, False),
        ("Wrappers for pictures or sound", WRAPPERS, True),
    ):
        outcomes = []
        for family in types:
            if chosen.only in family:
                outcomes.append(outcome(family, wrapped))
                print(f"{family:28} {outcomes[-1].line}", file=sys.stderr, flush=True)
        found[title] = outcomes
    for title, outcomes in found.items():
        _print(title, outcomes, chosen.markdown)
    return int(any(each.kind == "wrong" for outcomes in found.values() for each in outcomes))


def _print(title: str, outcomes: list[Outcome], markdown: bool) -> None:
    counts = Counter(each.kind for each in outcomes)
    said = ", ".join(f"{kind} {counts[kind]}" for kind in _KINDS)
    print(f"\n### {title}: {len(outcomes)}, transformers {transformers.__version__}\n\n{said}\n")
    if markdown:
        print("| type | served | lens off by | writes off by | what is said |")
        print("|---|---|---|---|---|")
        for each in outcomes:
            print(f"| {each.family} | {each.kind} | {each.lens} | {each.writes} | {each.said} |")


if __name__ == "__main__":
    sys.exit(main())
