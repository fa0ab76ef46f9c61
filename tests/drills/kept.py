"""What was said to be kept beside what is stored, asked past the code under test."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from strata.classroom.codes import fingerprint
from strata.storage.database import connected
from strata.storage.tables import EventRow, MemberRow
from tests.drills.learners import Told


@dataclass
class Kept:
    """Of one drill: how many of each kind were told to be kept, and what is not as it was told."""

    ballots: int
    answers: int
    joins: int
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    unsaid: int = 0  # stored, and nobody was told so


def compared(place: str, told: Told, vote: str) -> Kept:
    """What became of all that was told."""
    engine = connected(place)
    with engine.connect() as connection:
        members = connection.execute(select(MemberRow.id, MemberRow.name, MemberRow.resume)).all()
        columns = EventRow.key, EventRow.learner, EventRow.lesson, EventRow.step, EventRow.kind
        rows = connection.execute(select(*columns, EventRow.data)).all()
    engine.dispose()
    names = {row.id: json.loads(row.name) for row in members}
    ballots = Counter((r.learner, json.loads(r.data)["guess"]) for r in rows if r.kind == "vote")
    keys = {row.key for row in rows if row.kind == "vote"}
    tries: Counter[tuple[Any, ...]] = Counter()
    answers: set[tuple[str, str]] = set()
    for row in rows:
        if row.kind == "guess":
            data = json.loads(row.data)
            run = data["attempt"], data["job"], data["version"]
            tries[names.get(row.learner, row.learner), row.lesson, row.step, *run] += 1
            answers.add((names.get(row.learner, row.learner), f"{row.lesson}_{row.step}"))
    joined, resumes = Counter(names.values()), {row.resume: names[row.id] for row in members}
    lost = [f"ballot {word}" for who, key, word in told.ballots if _key(who, vote, key) not in keys]
    lost += [f"answer {name}: {question}" for name, question in told.answers - answers]
    lost += [f"join {n}" for n, code in told.joins.items() if resumes.get(fingerprint(code)) != n]
    twice = [f"ballot {word}" for (_, word), count in ballots.items() if count > 1]
    twice += [f"answer {told}" for told, count in tries.items() if count > 1]
    twice += [f"join {name}" for name, count in joined.items() if count > 1]
    unsaid = len(keys) - len(told.ballots) + len([each for each in lost if "ballot" in each])
    numbers = len(told.ballots), len(told.answers), len(told.joins)
    return Kept(*numbers, sorted(lost), sorted(twice), unsaid)


def _key(member: str, vote: str, key: str) -> str:
    told = json.dumps([member, vote, 1, "vote", key])
    return hashlib.sha256(told.encode()).hexdigest()
