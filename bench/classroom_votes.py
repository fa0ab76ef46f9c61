"""Votes while the class plays: when each screen followed, how long a ballot took, what was lost."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from strata.classroom.asked import Asked
from strata.classroom.roster import Roster
from strata.classroom.votes import Phase, Votes
from strata.storage.database import Database

_EVERY = 60.0  # seconds between two votes
_OPEN, _TALK = 25.0, 10.0  # seconds that a round, and the talk between, take
_THINKS = 1.0, 15.0  # seconds from seeing a vote to answering
_PHASES: tuple[tuple[Phase, float], ...] = (
    ("talk", _TALK),
    ("second", _OPEN),
    ("done", _TALK),
    ("over", 0.0),
)


@dataclass
class Polls:
    """The votes of one class, opened as its teacher does, and what its learners saw of them."""

    database: Database
    class_id: str
    since: dict[tuple[str, str], float] = field(default_factory=dict)  # when a phase began
    kept: set[tuple[str, str, int]] = field(default_factory=set)  # name, vote, round: told so

    async def hold(self) -> None:
        """One vote after another until cancelled."""
        votes = Votes(self.database)
        asked = Asked.own("Which of these?", ["the first", "the second", "the third"], right=1)
        while True:
            vote = await asyncio.to_thread(votes.open, self.class_id, asked)
            self.since[vote.id, "first"] = time.monotonic()
            await asyncio.sleep(_OPEN)
            for phase, lasts in _PHASES:
                await asyncio.to_thread(votes.change, vote.id, phase)
                self.since[vote.id, phase] = time.monotonic()
                await asyncio.sleep(lasts)
            await asyncio.sleep(_EVERY)

    async def follow(
        self,
        name: str,
        http: httpx.AsyncClient,
        address: str,
        cookie: str,
        add: Callable[[str, float], None],
        dice: random.Random,
    ) -> None:
        """What a learner's browser does: hear of each vote, think, hand in a ballot."""
        seen: set[tuple[str, str]] = set()
        socket = connect(
            address.replace("http", "ws", 1) + "/live",
            additional_headers={"Cookie": cookie},
            origin=address,  # type: ignore[arg-type]
            proxy=None,
            ping_interval=None,
        )
        async with socket as heard, asyncio.TaskGroup() as ballots:
            try:
                async for message in heard:
                    vote = json.loads(message).get("vote")
                    if not vote or (at := (vote["id"], vote["phase"])) in seen:
                        continue
                    seen.add(at)
                    while at not in self.since:  # the server told it before the database did
                        await asyncio.sleep(0.01)
                    add("vote seen", max(0.0, time.monotonic() - self.since[at]))
                    if vote["round"]:
                        ballot = vote["id"], vote["round"]
                        cast = self._cast(name, http, address, cookie, add, dice, ballot)
                        ballots.create_task(cast)
            except ConnectionClosed:
                return

    async def _cast(
        self,
        name: str,
        http: httpx.AsyncClient,
        address: str,
        cookie: str,
        add: Callable[[str, float], None],
        dice: random.Random,
        ballot: tuple[str, int],
    ) -> None:
        await asyncio.sleep(dice.uniform(*_THINKS))
        key, guess = secrets.token_hex(8), dice.randrange(3)
        said = {"vote": ballot[0], "round": ballot[1], "guess": guess, "key": key}
        start = time.monotonic()
        answer = await http.post(
            f"{address}/live/vote", content=json.dumps(said), headers={"Cookie": cookie}
        )
        add("ballot", time.monotonic() - start)
        if answer.status_code != 200:
            raise OSError(f"a ballot was answered {answer.status_code}: {answer.text[:100]}")
        self.kept.add((name, *ballot))

    def lost(self) -> list[str]:
        """Ballots that a learner was told are kept and that the database does not have."""
        votes = Votes(self.database)
        names = {m.id: m.name for m in Roster(self.database).members(self.class_id)}
        cast = votes.ballots(*{vote for _, vote, _ in self.kept})
        there = {
            (names[member], vote, number)
            for vote, rounds in cast.items()
            for number, guesses in rounds.items()
            for member in guesses
        }
        return [f"{name}: vote {vote}, round {n}" for name, vote, n in sorted(self.kept - there)]
