"""The gradebook as a teacher reads it: everyone is in it, with titles, in an order that stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, tzinfo

import pandas as pd

from strata.classroom import watch
from strata.lessons import Lesson

VOTE = "vote: "  # before the lesson of a question that was voted on
_WORDS = {
    "first": "first answer",
    "first_grade": "grade",
    "revision_grade": "its grade",
    "answer": "right answer",
    "member": "pseudonym",
}
Names = Mapping[str, str]  # of all learners of a class by their ids, in the order of the rows
Lessons = Mapping[str, Lesson]


def in_order(names: Names) -> dict[str, str]:
    """The same names as a list of a class has them."""
    return dict(sorted(names.items(), key=lambda each: each[1].casefold()))


def answers(book: pd.DataFrame, names: Names, known: Lessons, zone: tzinfo = UTC) -> pd.DataFrame:
    """A row for each learner and question, and one without a question for a learner who has
    answered none: name, pseudonym, lesson, step (its number, where it is one of a lesson), question
    (its title, if the lesson is still what it was then), version, model, first answer, grade,
    revision, its grade, right answer, at (a time of that zone). Learners are in the order of
    `names`, questions in that of the lessons."""
    absent = [{"member": each} for each in names if each not in set(book["member"])]
    book = pd.concat([book, pd.DataFrame(absent, columns=["member"])], ignore_index=True)
    book = book.fillna(dict.fromkeys([*_WORDS, "lesson", "version", "model", "revision"], ""))
    book = book.assign(name=_named(book, names), step=book["step"].fillna(0).astype(int))
    places, rows = _places(book, known), {each: n for n, each in enumerate(names)}
    order = pd.DataFrame(
        {
            "learner": [rows.get(member, len(rows)) for member in book["member"]],
            "place": [places[each] for each in _questions(book)],
            "at": book["at"].astype(str),
        }
    )
    book = book.loc[order.sort_values(["learner", "place", "at"], kind="stable").index]
    at = pd.to_datetime(book["at"], utc=True).dt.tz_convert(zone).dt.tz_localize(None)
    asked = list(zip(book["lesson"], book["step"], book["version"], strict=True))
    told = book.assign(
        lesson=[_lesson(known, lesson) for lesson, _, _ in asked],
        step=[str(step or "") for _, step, _ in asked],
        question=[_title(known, *each) for each in asked],
        at=at,
    )
    first = ["name", "member", "lesson", "step", "question", "version", "model"]
    rest = ["first", "first_grade", "revision", "revision_grade", "answer", "at"]
    return told[first + rest].rename(columns=_WORDS).reset_index(drop=True)


def each_learner(book: pd.DataFrame, names: Names) -> pd.DataFrame:
    """`watch.points` of every learner, in the order of `names`: name, pseudonym, questions, right
    at first, right in the end."""
    counts = ["questions", "right at first", "right in the end"]
    points = watch.points(book).set_index("member")[counts]
    points = points.reindex(list(names)).fillna(0).astype(int)
    points.insert(0, "pseudonym", points.index)
    points.insert(0, "name", list(names.values()))
    return points.reset_index(drop=True)


def each_question(book: pd.DataFrame, names: Names, known: Lessons) -> pd.DataFrame:
    """`each_learner`, and a column for each question whose answer is known: 1 where the first
    answer was right, 0 where it was not, as of who has only voted in the second round, nothing
    where there was none (see `watch.graded`)."""
    graded = watch.graded(book)
    places = _places(graded, known)
    summed = each_learner(book, names)
    columns: dict[str, pd.Series] = {}
    for lesson, step in sorted(places, key=lambda each: places[each]):
        mine = graded[(graded["lesson"] == lesson) & (graded["step"] == step)]
        right = (mine.set_index("member")["first_grade"] == "right").astype("Int64")
        titles = [_title(known, lesson, step, version) for version in mine["version"]]
        title = next(filter(None, titles), "")
        said = f"{step}. {title}".removesuffix(". ") if step else ""
        name = ": ".join(filter(None, (_lesson(known, lesson), said)))
        while name in columns:
            name = f"{name} "
        columns[name] = right.reindex(summed["pseudonym"]).reset_index(drop=True)
    return pd.concat([summed, pd.DataFrame(columns, index=summed.index)], axis="columns")


def _named(book: pd.DataFrame, names: Names) -> list[str]:
    """The name of each row's learner; of one who was deleted just now the name of the row."""
    return [names.get(*each) for each in zip(book["member"], book["name"], strict=True)]


def _questions(book: pd.DataFrame) -> list[tuple[str, int]]:
    return list(zip(book["lesson"], book["step"].astype(int), strict=True))


def _places(book: pd.DataFrame, known: Lessons) -> dict[tuple[str, int], int]:
    """Which question comes where: as the lessons have them, then votes in the order of the time."""
    of_lesson, voted = {stem: n for n, stem in enumerate(known)}, dict[tuple[str, int], None]()
    for each in _questions(book.sort_values("at", kind="stable")):
        if each[0].startswith(VOTE):
            voted[each] = None
    asked = {each for each in _questions(book) if each not in voted}
    place = {each: (of_lesson.get(each[0], len(of_lesson)), *each) for each in asked}
    return {each: n for n, each in enumerate([*sorted(asked, key=place.__getitem__), *voted])}


def _lesson(known: Lessons, named: str) -> str:
    """A lesson by its title, a question of the teacher's own as it was asked."""
    asked = named.removeprefix(VOTE)
    title = known[asked].title if asked in known else asked
    return f"Vote: {title}" if named.startswith(VOTE) else title


def _title(known: Lessons, named: str, number: int, version: str) -> str:
    """A step by its title; "" where the lesson has changed since."""
    lesson = known.get(named.removeprefix(VOTE))
    if lesson is None or lesson.version != version or not 0 < number <= len(lesson.steps):
        return ""
    return lesson.steps[number - 1].title


def in_lessons_order(stems: Sequence[str], known: Lessons) -> dict[str, Lesson]:
    """The lessons as a class follows them, the others after these."""
    first = [stem for stem in stems if stem in known]
    return {stem: known[stem] for stem in [*first, *(each for each in known if each not in first)]}
