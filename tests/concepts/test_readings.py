"""All that pages say of forty prompts keeps to grammar, and is true of the run it is said of.

A small random model with the bundled model's tokenizer says all sentences of all prompts, the
bundled model those of a few; without --thorough of one prompt of each kind, and of one, of which it
draws no beam and reads no set. What must stand in each is computed in `<stem>/said.py`.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from importlib import import_module

import pytest

from strata.model import Model, load_model
from tests import small
from tests.concepts.prompts import COVERING, PROMPTS
from tests.concepts.said import Run, Said, faults, sayers

OF_BUNDLED = ("one token", pytest.param("a chat", marks=pytest.mark.thorough))


@pytest.fixture(scope="module")
def random(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(str(small.save(tmp_path_factory.mktemp("readings") / "small")), device="cpu")


@pytest.fixture(scope="module")
def told(random: Model, thorough: bool) -> dict[str, dict[str, list[Said]]]:
    """What is said, by concept and prompt."""
    found: dict[str, dict[str, list[Said]]] = defaultdict(dict)
    for name in PROMPTS if thorough else COVERING:
        run = Run(random, PROMPTS[name])
        for stem, sayer in sayers().items():
            found[stem][name] = list(sayer(run))
    return found


def judge(said: list[Said]) -> list[str]:
    wrong = [f"{s.name}: {s.sentence}: {fault}" for s in said for fault in faults(s.sentence)]
    return wrong + [
        f"{s.name}: {s.sentence}: not {claim!r}"
        for s in said
        for claim in s.claims
        if claim not in s.sentence
    ]


@pytest.mark.parametrize("stem", sayers())
def test_what_is_said_keeps_to_grammar_and_is_true(
    stem: str, told: dict[str, dict[str, list[Said]]]
) -> None:
    assert len(told[stem]) >= len(COVERING)
    wrong = [f"{name}: {fault}" for name, said in told[stem].items() for fault in judge(said)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", OF_BUNDLED)
def test_of_the_bundled_model_too(name: str, model: Model, thorough: bool) -> None:
    run, every = Run(model, PROMPTS[name]), sayers()
    del every["gaussian_baseline"]  # of samples, see tests/lessons/test_shipped.py
    if not thorough:
        del every["jacobian_lens"], every["evidence"]
    wrong = [fault for sayer in every.values() for fault in judge(list(sayer(run)))]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("stem", sayers())
def test_no_sentence_of_a_concept_is_left_out(
    stem: str, told: dict[str, dict[str, list[Said]]]
) -> None:
    words = import_module(f"strata.concepts.{stem}.words" if stem else "strata.concepts.words")
    sentences = {
        name
        for name, function in inspect.getmembers(words, inspect.isfunction)
        if function.__module__ == words.__name__
        and name.endswith("reading")
        and not name.startswith("_")
    }
    heard = {said.name for each in told[stem].values() for said in each}
    parts = (
        {name for name in sentences if f"{name}(" in inspect.getsource(words.sentence)}
        if (hasattr(words, "sentence"))
        else set()
    )
    assert sentences - parts <= heard


def test_the_prompts_are_of_all_lengths(random: Model) -> None:
    assert len(PROMPTS) == 40
    lengths = {name: len(random.capture(text).tokens) for name, text in PROMPTS.items()}
    assert lengths["170 tokens"] >= 170
    assert sum(length == 1 for length in lengths.values()) >= 5


@pytest.mark.parametrize(
    ("sentence", "fault"),
    [
        ("With the edit 1 of 31 cells say another token.", "one do"),
        ("It has 1 tokens.", "one of many"),
        ("The mean is nan nats.", "no number"),
        ("It is off by 3e-05.", "a power as computers write it"),
        ("It is 0.123456789.", "a number of many digits"),
        ("It is -3.5 nats.", "a minus of a keyboard"),
        ("it begins small.", "its beginning"),
        ("It has no end", "its end"),
        ("It has  two spaces.", "two spaces"),
        ("It is so long, " * 30 + "and ends.", "its length"),
    ],
)
def test_the_rules_see_a_fault(sentence: str, fault: str) -> None:
    assert fault in faults(sentence)


def test_the_rules_let_tokens_be() -> None:
    assert faults("At layer 1 “1e-5” (3) and “”” (1 of 2 cells) have 0 of 1 position.") == []
    assert faults("“-1” first leads at layer 1 of 30 after “.” (position 4), and stays.") == []
