"""What the teacher sees of a class: tables made from its members' events."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from sqlalchemy import select

from strata.database import Database
from strata.tables import EventRow, MemberRow

EVENTS = ["member", "name", "lesson", "step", "kind", "data", "at"]


def events(database: Database, class_id: str) -> pd.DataFrame:
    """All that the members of a class did, in order: member, name, lesson, step (from 1), kind,
    data (a dict), at (UTC). Members who did nothing yet have one row, of the kind "joined"."""
    with database.session() as session:
        mine = MemberRow.class_id == class_id
        names = {
            row.id: (json.loads(row.name), row.joined)
            for row in session.scalars(select(MemberRow).where(mine).order_by(MemberRow.joined))
        }
        done = select(EventRow).join(MemberRow, MemberRow.id == EventRow.learner)
        done = done.where(mine, EventRow.kind != "vote")  # which `Votes` counts
        rows: list[tuple[Any, ...]] = [
            (e.learner, names[e.learner][0], e.lesson, e.step + 1, e.kind, json.loads(e.data), e.at)
            for e in session.scalars(done.order_by(EventRow.id))
        ]
    busy = {row[0] for row in rows}
    joined: list[tuple[Any, ...]] = [
        (member, name, "", 0, "joined", {}, at)
        for member, (name, at) in names.items()
        if member not in busy
    ]
    return pd.DataFrame(joined + rows, columns=EVENTS)


def people(done: pd.DataFrame, now: datetime | None = None) -> pd.DataFrame:
    """Where everyone is: name, lesson, step, answers (questions answered), hints, minutes (since
    they did something); who was active last comes first."""
    columns = ["name", "lesson", "step", "answers", "hints", "minutes"]
    now = now or datetime.now(UTC)
    rows = []
    for _, mine in done.groupby("member", sort=False):
        last = mine.iloc[-1]
        guesses = mine[mine["kind"] == "guess"].drop_duplicates(["lesson", "step"])
        hints = int((mine["kind"] == "hint").sum())
        minutes = max(0.0, (now - last["at"]).total_seconds() / 60)
        rows.append((last["name"], last["lesson"], last["step"], len(guesses), hints, minutes))
    return pd.DataFrame(rows, columns=columns).sort_values("minutes", ignore_index=True)


def funnel(done: pd.DataFrame, lesson: str, n_steps: int) -> pd.DataFrame:
    """How many got how far in a lesson: step (1 to n_steps), reached (learners who were at that
    step or a later one), answered, hints (learners who took one)."""
    mine = done[done["lesson"] == lesson]
    furthest = mine.groupby("member")["step"].max()
    rows = []
    for step in range(1, n_steps + 1):
        here = mine[mine["step"] == step]
        by_kind = {
            kind: here[here["kind"] == kind]["member"].nunique() for kind in ("guess", "hint")
        }
        rows.append((step, int((furthest >= step).sum()), by_kind["guess"], by_kind["hint"]))
    return pd.DataFrame(rows, columns=["step", "reached", "answered", "hints"])


def gradebook(done: pd.DataFrame) -> pd.DataFrame:
    """A row for each learner and question: name, member, lesson, version, step, model, first
    (guess), first_grade, revision, revision_grade, answer (as measured on the learner's own run),
    at (of the first). A question asked of several runs has a row for each."""
    columns = [
        *("name", "member", "lesson", "version", "step", "model"),
        *("first", "first_grade", "revision", "revision_grade", "answer", "at"),
    ]
    guesses = done[done["kind"] == "guess"]
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in guesses.itertuples():
        data: dict[str, Any] = row.data
        key = row.member, row.lesson, row.step, data["job"], data["version"]
        kept = found.setdefault(key, dict.fromkeys(columns, ""))
        said, grade = _words(data["guess"]), data["verdict"]["grade"]
        if not kept["first"]:
            kept |= {"name": row.name, "member": row.member, "lesson": row.lesson}
            kept |= {"version": data["version"], "step": row.step, "model": data["model"]}
            kept |= {"first": said, "first_grade": grade, "answer": _words(data["answer"])}
            kept["at"] = pd.Timestamp(row.at).isoformat(timespec="seconds")
        else:
            kept |= {"revision": said, "revision_grade": grade}
    return pd.DataFrame(list(found.values()), columns=columns)


def answers(done: pd.DataFrame) -> pd.DataFrame:
    """The first answers to each question, grouped: lesson, step, guess, grade, learners; the
    questions that most got wrong first. Numbers are as typed, choices are numbers of options."""
    book = gradebook(done).drop_duplicates(["member", "lesson", "step"])
    if book.empty:
        return pd.DataFrame(columns=["lesson", "step", "guess", "grade", "learners", "wrong"])
    groups = book.groupby(["lesson", "step", "first", "first_grade"], sort=False)["member"]
    frame = groups.nunique().reset_index(name="learners")
    frame = frame.rename(columns={"first": "guess", "first_grade": "grade"})
    wrong = book.assign(wrong=book["first_grade"] == "wrong").groupby(["lesson", "step"])["wrong"]
    frame = frame.join(wrong.sum(), on=["lesson", "step"])
    order = ["wrong", "lesson", "step", "learners"]
    return frame.sort_values(order, ascending=[False, True, True, False], ignore_index=True)


def observations(done: pd.DataFrame) -> pd.DataFrame:
    """The latest words of each learner at each step: name, lesson, step, text, at."""
    said = done[done["kind"] == "observation"]
    said = said.drop_duplicates(["member", "lesson", "step"], keep="last")
    text = [str(data["text"]).strip() for data in said["data"]]
    frame = said[["name", "lesson", "step", "at"]].assign(text=text)
    return frame[[bool(words) for words in text]].reset_index(drop=True)


def _words(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
