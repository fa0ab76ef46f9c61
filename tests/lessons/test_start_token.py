"""Positions that lessons name are those of the tokens that they mean, also behind a start token."""

from __future__ import annotations

from typing import Any

import pytest

from strata import lessons
from strata.lessons.answers import resolved
from strata.model import Model

NAMES = ("at", "at_2", "position")
# Of each lesson on single tokens, what stands where its steps say.
MEANT = {
    "heads": {"$last": (" is", " to")},
    "jacobian_lens": {"$last": (" is",), "$last-1": (" France",), "$last-5": (" green",)},
}


@pytest.mark.parametrize("stem", list(MEANT))
def test_a_position_is_of_the_token_that_is_meant(model: Model, stem: str) -> None:
    [path] = [path for path in lessons.files() if path.stem == stem]
    for step in lessons.read(path).steps:
        asked: list[dict[str, Any]] = [step.settings]
        if step.question is not None:
            asked += [step.question.given, step.question.params]
        for given in asked:
            for name in given.keys() & set(NAMES):
                token_ids = model.encode(step.prompt).tolist()
                tokens = ["<start>", *(model.decode([each])[0] for each in token_ids)]
                at = resolved({name: given[name]}, model.n_layers, len(tokens))[name]
                assert tokens[at] in MEANT[stem][given[name]], step.title
