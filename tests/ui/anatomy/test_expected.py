"""What pages say before a long work, and while it goes on: how long it takes here."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from strata.concepts.views import is_quick, supplied, views
from strata.lessons import lessons
from strata.lessons.answers import resolved
from strata.ui.anatomy import ask, expected
from strata.ui.anatomy.expected import (
    Coarser,
    Expected,
    about_how_long,
    expect,
    left,
    reading,
    roughly,
)
from tests.engine.fakes import Clock, Gate, engine, hold, job

ABOUT = {"n_layers": 30, "d_model": 576}
MAP = {"method": "umap", "n_epochs": 200, "n_neighbors": 50}


@pytest.fixture(autouse=True)
def nothing_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expected, "_paces", {})


def test_a_time_is_told_no_more_exactly_than_it_is_known() -> None:
    told = [roughly(seconds) for seconds in (5, 7.6, 19, 21, 44, 89, 95, 170, 400)]
    assert told == [
        *("5 seconds", "10 seconds", "20 seconds", "20 seconds", "40 seconds", "90 seconds"),
        *("2 minutes", "3 minutes", "7 minutes"),
    ]


def test_a_long_prompt_is_told_of_and_a_short_one_not() -> None:
    long = expect("trajectories.state_map", ABOUT, 170, 0, MAP)
    assert long is not None
    assert 10 < long.on_a_core < 30  # measured: 17 s
    assert long.sentence == f"A map of 170 tokens takes about {roughly(long.seconds)} here."
    short = expect("trajectories.state_map", ABOUT, 5, 0, MAP)
    assert short is not None
    assert short.sentence == short.left(0.0, 0.0) == ""
    two = expect("trajectories.joint_map", ABOUT, 170, 2, MAP)
    assert two is not None
    assert two.on_a_core > 2 * long.on_a_core
    quick = expect("trajectories.state_map", ABOUT, 170, 0, {**MAP, "method": "pca"})
    assert quick is not None
    assert quick.on_a_core < long.on_a_core
    runs = expect("scaling.sweep", ABOUT, 170, 0, {"factors": [0.0] * 9})
    assert runs is not None
    assert runs.sentence.startswith("270 edited runs of 170 tokens take about ")
    beside = expect("scaling.controls", ABOUT, 170, 0, {"n_seeds": 9})
    assert beside is not None
    assert beside.sentence.startswith("330 edited runs of 170 tokens take about ")
    beams = expect("jacobian_lens.beside", ABOUT, 5, 0, {"n_passages": 16})
    assert beams is not None
    usual = expect("jacobian_lens.beside", ABOUT, 5, 0, {})
    assert usual is not None
    assert 8 < usual.on_a_core < 20  # measured: 16 s, 8 passages through random blocks
    assert beams.sentence.startswith("16 passages, read forward and back, by random blocks too, ")
    assert expect("predictions.next_token", ABOUT, 170, 0, {"position": 0}) is None
    middle = expect("heads.changed", ABOUT, 150, 0, {"block": 15, "head": 3, "factor": 0.0})
    assert middle is not None
    assert 4 < middle.on_a_core < 8  # measured: 5.6 s, 18 runs of half the blocks
    assert middle.sentence.startswith("Changing a head in 150 tokens, and its controls, takes ")
    last = expect("heads.changed", ABOUT, 150, 0, {"block": 29, "head": 3, "factor": 0.0})
    assert last is not None
    assert last.on_a_core == pytest.approx(middle.on_a_core / 15)
    assert last.sentence == ""


# Views that say no time before: what they do runs no model but for what they are given, which is
# asked for before, or read off its numbers in less than two seconds; the third kind says how far it
# is, and how long it still takes as soon as that can be seen.
READS_OFF = {
    "corpus": "about check texts",  # the reading itself: `reading`
    "gaussian_baseline": "archive decomposition dimensions histogram known_dimension normality "
    "quantiles summary",
    "chance": "own",  # of most numbers
    "hidden_states": "archive output_facts",
    "jacobian_lens": "about cell convergence difference floor followed grid lens",
    "laminar_profile": "cka layer_matrices pair points selectivity statistics token_matrices",
    "logit_lens": "attribution cell followed grid lens mistakes modules proof statistics "
    "target_logit write_norms",
    "predictions": "factual",
    "scaling": "compare last_block places",
}
SAYS_HOW_FAR = {
    "gaussian_baseline": "glance intrinsic",
    "logit_lens": "nearest",
    "trajectories": "trajectories",
}


def listed(of: dict[str, str]) -> set[str]:
    return {f"{stem}.{name}" for stem, names in of.items() for name in names.split()}


def test_of_every_view_that_runs_the_model_it_is_known() -> None:
    """Or it is listed here why not."""
    given = {"factors": [0.0], "layers": None, "names": (), "conditions": ("a", "b") * 30}
    given |= {"block": 3, "concept": "hidden_states", "number": "Norm of the state"}
    given |= {"kind": "shuffled text", **MAP}
    known = set()
    for name, view in views().items():
        if is_quick(view):
            continue
        layers = {"layers": (1, 2)} if name == "patching.failures" else {}
        n_prompts = 60 if supplied(view) & {"runs", "traces"} else 0
        found = expect(name, ABOUT, 20, n_prompts, given | layers)
        if found is not None:
            known.add(name)
            assert found.seconds > 0, name
            assert found.noun.endswith((" takes", " take")), name
    shown = listed(READS_OFF) | listed(SAYS_HOW_FAR)
    assert known.isdisjoint(shown)
    assert {name for name, view in views().items() if not is_quick(view)} == known | shown
    told = {name for name in listed(SAYS_HOW_FAR) if "progress" in supplied(views()[name])}
    assert told == listed(SAYS_HOW_FAR)


def test_what_a_view_costs_says_how_long_it_takes() -> None:
    """Processor seconds that were measured on two busy cores, within a factor of three."""
    measured = {
        "patching.cells": (24, 0, {"layers": None}, 3.9),
        "patching.heads": (24, 0, {"block": 20}, 5.8),
        "patching.read_elsewhere": (5, 0, {"n_tokens": 12}, 20.5),
        "hidden_states.without_massive": (145, 0, {}, 5.1),
    }
    for view, (n_tokens, n_prompts, params, seconds) in measured.items():
        found = expect(view, ABOUT, n_tokens, n_prompts, params)
        assert found is not None
        assert seconds / 3 < found.on_a_core < 3 * seconds, view
    written = expect("patching.read_elsewhere", ABOUT, 5, 0, {"n_tokens": 12})
    assert written is not None
    assert written.sentence.startswith("17 continuations of 12 tokens take about ")
    of_a_set = expect("evidence.values", ABOUT, 9, 60, {"names": (), "conditions": ()})
    assert of_a_set is not None
    assert of_a_set.sentence.startswith("60 prompts take about ")
    assert about_how_long(["a word or two", "more words"]) == 2
    assert about_how_long([""]) == about_how_long([]) == 1
    some = reading(ABOUT, ["x" * 400] * 89, 32, 8)
    assert some.noun == "Reading 24 passages takes"
    whole = reading(ABOUT, ["x" * 400] * 89, 0)
    assert whole.on_a_core == pytest.approx(some.on_a_core * 89 / 24)
    assert 10 < whole.on_a_core < 40


def test_of_every_question_of_a_lesson_it_is_known_or_none() -> None:
    """A question may leave out what the page always says, such as the block of a head."""
    asked = [step.question for lesson in lessons().values() for step in lesson.steps]
    for question in (each for each in asked if each and each.view):
        found = expect(question.view, ABOUT, 10, 1, resolved(question.params, 30, 10))
        assert found is None or found.seconds > 0, question.ask


def test_what_takes_long_is_offered_with_less_in_it() -> None:
    less = Coarser("every fourth layer", {"stride": 4}, {"map_stride": 4})
    long = expect("trajectories.state_map", ABOUT, 170, 0, MAP, less)
    alone = expect("trajectories.state_map", ABOUT, 170, 0, {**MAP, "stride": 4})
    assert long is not None
    assert alone is not None
    assert alone.on_a_core < long.on_a_core / 5  # 9 of 31 layers
    told = f"Coarser: every fourth layer, about {roughly(alone.seconds)}"
    assert long.offer == (told, {"map_stride": 4})
    long.took(long.on_a_core * 0.1)  # a quick machine
    assert long.seconds < 20
    assert long.offer is None

    factors = {"factors": [0.0, 0.5, 1.0, 1.5, 2.0]}
    some = Coarser("3 of 5 factors", {"factors": [0.0, 1.0, 2.0]}, {})
    runs = expect("scaling.sweep", ABOUT, 170, 0, factors, some)
    assert runs is not None
    assert runs.seconds > 60
    assert runs.offer is None, "which takes more than half as long"
    few = expect("scaling.sweep", ABOUT, 170, 0, factors, Coarser("one", {"factors": [0.0]}, {}))
    assert few is not None
    assert few.offer is not None
    assert expect("predictions.next_token", ABOUT, 170, 0, {"position": 0}, less) is None


def test_it_learns_from_what_earlier_works_of_the_kind_took() -> None:
    work = Expected("a view", "It takes", 10.0)
    assert work.seconds == 15
    work.took(40.0)
    assert Expected("a view", "It takes", 20.0).seconds == 80
    work.took(20.0)
    assert work.seconds == 30
    assert Expected("another", "It takes", 10.0).seconds == 15


def test_of_what_hardly_works_nothing_is_learnt() -> None:
    params = {"kind": "random directions", "count": 4}
    found = expect("chance.draws", ABOUT, 5, 1, params)
    assert found is not None
    assert found.sentence == ""
    found.took(3.0)
    assert found.seconds == 0
    small = expect("heads.pattern", ABOUT, 5, 0, {"block": 0, "head": 0})
    assert small is not None
    small.took(0.5)  # of which most is the way to the model and back
    long = expect("heads.pattern", ABOUT, 200, 0, {"block": 0, "head": 0})
    assert long is not None
    assert long.sentence == ""
    found = expect("chance.draws", ABOUT, 5, 1, {**params, "kind": "shuffled text"})
    assert found is not None
    usual = found.seconds
    found.took(3 * usual)
    assert found.seconds == pytest.approx(3 * usual)


def test_what_is_left_follows_the_progress_once_there_is_some() -> None:
    work = Expected("a view", "It takes", 40.0)
    assert work.left(0.0, 0.0) == ", about 60 seconds left"
    assert work.left(20.0, 0.1) == ", about 40 seconds left"
    assert work.left(20.0, 0.5) == ", about 20 seconds left"
    assert work.left(59.0, 0.9) == ", about 5 seconds left"
    assert work.left(59.0, 0.99) == work.left(80.0, 0.0) == ""
    # Where nothing was expected, only how far it is says it.
    assert left(40.0, 0.1) == ""
    assert left(20.0, 0.25) == ", about 60 seconds left"


def test_a_page_says_it_before_and_draws_what_is_there(
    monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    shown: list[str] = []
    clock = Clock()

    def progress(fraction: float, text: str = "") -> None:
        shown.append(text)
        if len(shown) == 6:
            clock.now += 30
            gate.open.set()

    place = SimpleNamespace(empty=lambda: None, container=lambda: Box())
    drawn = SimpleNamespace(
        empty=lambda: place,
        caption=shown.append,
        button=lambda what, **pressed: shown.append(f"{what}: {pressed['args']}"),
        progress=lambda *args: SimpleNamespace(progress=progress),
        session_state=SimpleNamespace(get=lambda key: None, update=None),
    )
    monkeypatch.setattr(ask, "st", drawn)
    monkeypatch.setattr(ask, "time", SimpleNamespace(monotonic=clock))
    monkeypatch.setattr(ask, "learner", lambda: "ann")
    less = Coarser("a part", {}, {"part": True}), Expected("plain", "It takes", 2.0)
    work = Expected("plain", "A map of 170 tokens takes", 20.0, less)
    with engine({"gate": gate.view}, clock=clock) as made:
        monkeypatch.setattr(ask, "engine", lambda: made)
        hold(made, gate)
        assert len(ask.run(job("plain"), lambda: shown.append("drawn"), work)) == 1
    said, offered, drawn_so_far, left = shown[:4]
    assert said == "A map of 170 tokens takes about 30 seconds here."
    assert offered == "Coarser: a part, about 5 seconds: ({'part': True},)"
    assert drawn_so_far == "drawn"
    assert "about 30 seconds left" in left
    assert work.seconds == 30  # as long as it took


class Box:
    def __enter__(self) -> None: ...

    def __exit__(self, *exc: object) -> None: ...
