"""Hostile texts in either database: kept as they are, found by their owner only, and given back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from strata.classroom import watch
from strata.classroom.backup import kept_of, load, save
from strata.classroom.codes import LONGEST_NAME
from strata.classroom.roster import Class, Member, Roster
from strata.display.files import as_csv, as_json
from strata.errors import InputError
from strata.lessons.answers import Verdict
from strata.lessons.progress import LONGEST, Guess, Progress
from strata.storage.database import Database
from strata.storage.prompts import PromptStore
from tests.databases import KINDS, new_place
from tests.hostile import CASES, VALID, Case, each_sink, try_all

TO_KEEP = tuple(case for case in VALID if 0 < len(case.text) <= LONGEST)


@dataclass(frozen=True)
class World:
    """A database with two classes, and a member of each."""

    database: Database
    group: Class
    ann: Member
    other: Class
    eve: Member


@pytest.fixture(scope="module", params=KINDS)
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with new_place(request.param, tmp_path_factory.mktemp("kept")) as place:
        database = Database(place)
        roster = Roster(database)
        group, other = roster.create("Ours"), roster.create("Theirs")
        ann, eve = (roster.join(each_.code, "Ann")[0] for each_ in (group, other))
        yield World(database, group, ann, other, eve)
        assert [each_.name for each_ in roster.classes()] == ["Theirs", "Ours"], "all still there"
        assert not PromptStore(database).load("' OR 1=1 --")
        database.close()


def clean(name: str) -> bool:
    return name.isprintable() and 0 < len(name) <= LONGEST_NAME and name == name.strip()


def as_member(world: World, text: str) -> None:
    roster = Roster(world.database)
    try:
        member, _ = roster.join(world.group.code, text)
    except InputError as error:
        assert str(error).startswith(("Type a name", "A name has at most"))
    else:
        assert clean(member.name)
        assert member in roster.members(world.group.id)
        roster.forget(member.id)
    for ask in (lambda: roster.join(text, "Ann"), lambda: roster.resume(text)):
        with pytest.raises(InputError):
            ask()
    assert roster.members(world.group.id) == [world.ann]


def as_class(world: World, text: str) -> None:
    roster = Roster(world.database)
    try:
        made = roster.create(text, lessons=[text[:LONGEST]])
    except InputError as error:
        assert str(error).startswith(("Type a name", "A name has at most"))
        return
    assert clean(made.name)
    assert made.lessons == (text[:LONGEST],)
    roster.remove(made.id)
    with pytest.raises(InputError, match="no"):
        roster.change(world.group.id, **{"x" + text[:50]: 1})


def as_prompt(world: World, text: str) -> None:
    store = PromptStore(world.database)
    for owner in (world.ann, world.eve):
        assert store.load(text, owner.class_id) is None
    try:
        found = store.save(text, world.ann.id, world.group.id)
    except InputError as error:
        assert str(error).startswith(("There is no prompt", "This prompt h"))
        return
    assert store.load(found, world.group.id) == text
    for class_id in (world.other.id, ""):
        assert store.load(found, class_id) is None, "of another class"


def as_observation(world: World, text: str) -> None:
    kept = Progress(world.database)
    lesson = text[:64] if text[:64].isprintable() else "mine"
    try:
        kept.note(world.ann.id, lesson, 1, observation=text)
    except InputError as error:
        assert "at most" in str(error)
        return
    assert kept.notes(world.ann.id, lesson)[1].observation == text
    assert kept.notes(world.eve.id, lesson) == {}
    kept.forget(world.ann.id, lesson)


def as_guess(world: World, text: str) -> None:
    kept, text = Progress(world.database), text[:LONGEST]
    guess = Guess(0, 0, "v", text, text, text, text, Verdict("right", text))  # not held back
    kept.commit(world.ann.id, "mine", guess)
    kept.commit(world.ann.id, "mine", guess)
    assert kept.guesses(world.ann.id, "mine") == [guess]
    assert kept.guesses(world.eve.id, "mine") == []
    kept.forget(world.ann.id, "mine")


def as_run(world: World, text: str) -> None:
    kept, text = Progress(world.database), text[:20_000]
    kept.note(world.ann.id, "mine", 0, figure=text, code=text, run={"prompt": text, text: 1})
    note = kept.notes(world.ann.id, "mine", drawn=True)[0]
    assert (note.figure, note.code, note.run) == (text, text, {"prompt": text, text: 1})
    kept.forget(world.ann.id, "mine")


SINKS: dict[str, Callable[[World, str], None]] = {
    "member": as_member,
    "class": as_class,
    "prompt": as_prompt,
    "observation": as_observation,
    "guess": as_guess,
    "run": as_run,
}


@each_sink(SINKS, CASES)
def test_it_is_kept_or_refused(world: World, sink: str, cases: tuple[Case, ...]) -> None:
    try_all(cases, partial(SINKS[sink], world))


def fill(world: World, texts: list[str]) -> None:
    """Each hostile text as an observation, a guess, a figure and a prompt of Ann's."""
    kept, store = Progress(world.database), PromptStore(world.database)
    for step, text in enumerate(texts):
        guess = Guess(step, 0, "v", "m", str(step), text, "a", Verdict("wrong", text))
        kept.commit(world.ann.id, "all", guess)
        kept.commit(world.ann.id, "all", replace(guess, attempt=1, guess="=1"))
        kept.note(world.ann.id, "all", step, observation=text, run={"prompt": text})
        kept.mark(world.ann.id, "a set", text)
        store.save(text, world.ann.id, world.group.id)
    kept.note(world.eve.id, "all", 0, observation="Eve's own")


@each_sink(["backup", "export", "watch"], TO_KEEP)
def test_all_of_it_comes_back_and_nothing_of_another_class(
    world: World, sink: str, cases: tuple[Case, ...], tmp_path: Path
) -> None:
    texts = [case.text for case in cases]
    fill(world, texts)
    ours = kept_of(world.database, [world.ann.id])
    if sink == "backup":
        for kind in KINDS:
            file = tmp_path / f"{kind}.gz"
            save(world.database, file)
            with new_place(kind, tmp_path / kind) as place:
                other = Database(place)
                load(other, file)
                assert kept_of(other, [world.ann.id]) == ours
                assert Roster(other).classes() == Roster(world.database).classes()
                other.close()
    elif sink == "export":
        assert {row["text"] for row in ours["prompts"]} >= set(texts)
        file_ = as_json({"class": world.group.name, **ours})
        assert json.loads(file_, parse_constant=pytest.fail)["events"] == ours["events"]
        assert b"Eve's own" not in file_
        assert not kept_of(world.database, ["", "' OR 1=1 --", "%"])["members"]
    else:
        done = watch.events(world.database, world.group.id)
        book = watch.gradebook(done)
        assert set(book["first"]) == set(texts)
        assert len(watch.answers(done)) == len(texts)
        said = set(watch.observations(done)["text"])
        assert said == {text.strip() for text in texts if text.strip()}
        assert as_csv(book).count(b"\n\"'=") == 0
        assert watch.people(done)["name"].tolist() == ["Ann"]
    for learner, lesson in ((world.ann, "all"), (world.ann, "set a set"), (world.eve, "all")):
        Progress(world.database).forget(learner.id, lesson)
    assert not kept_of(world.database, [world.ann.id])["events"]
