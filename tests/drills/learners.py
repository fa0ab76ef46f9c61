"""Who works in a drill: voters, learners in a lesson, and some who join, as their browsers do.

A voter's browser is `strata/ui/classroom/live.js` without a screen: what it does when an answer
does not come, or says no, is done here too. Each notes what it was told.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import secrets
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from html import unescape

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake, WebSocketException

from bench import classroom_play
from bench.classroom_client import Broken
from tests.drills.school import Seated

_THINKS = 3.0, 8.0  # seconds between two ballots of a learner
_TRY_AGAIN = (429, 503)  # what live.js takes for "not yet"


@dataclass
class Told:
    """What browsers were told: ballots, answers and joins that are kept, and what was given up."""

    ballots: set[tuple[str, str, str]] = field(default_factory=set)  # member, key, word
    answers: set[tuple[str, str]] = field(default_factory=set)  # name, "stem_step"
    joins: dict[str, str] = field(default_factory=dict)  # name: resume code
    refused: Counter[str] = field(default_factory=Counter)  # told not to try again, and why
    forgotten: Counter[str] = field(default_factory=Counter)  # a page that came back without it
    longest: float = 0.0  # seconds until a ballot was kept
    open: int = 0  # ballots whose browser still tries


class Day:
    """All learners of a drill at one address, until `over` is set and the last word is there."""

    def __init__(self, address: str, vote: str, told: Told, http: httpx.AsyncClient) -> None:
        self.address, self.vote, self.told, self.http = address, vote, told, http
        self.over = asyncio.Event()

    # -- votes --------------------------------------------------------------------------------

    async def votes(self, who: Seated, dice: random.Random) -> None:
        """One ballot after the other, each with words of its own."""
        number = 0
        while not self.over.is_set():
            await asyncio.sleep(dice.uniform(*_THINKS))
            number += 1
            await self._cast(who, f"{who.name.split()[-1]}-{number}")

    async def _cast(self, who: Seated, word: str) -> None:
        """As live.js sends a ballot: until it is kept, or not to be tried again."""
        key, since = secrets.token_hex(8), asyncio.get_running_loop().time()
        said = json.dumps({"vote": self.vote, "round": 1, "guess": word, "key": key})
        tries = 0
        self.told.open += 1
        while True:
            with suppress(httpx.HTTPError, ValueError):
                answer = await self.http.post(
                    f"{self.address}/live/vote", content=said, headers={"Cookie": who.cookie}
                )
                wrong = answer.json().get("wrong", "")
                if answer.status_code == 200:
                    took = asyncio.get_running_loop().time() - since
                    self.told.longest = max(self.told.longest, took)
                    self.told.ballots.add((who.member, key, word))
                    break
                if answer.status_code not in _TRY_AGAIN:
                    self.told.refused[f"{answer.status_code} {wrong}"] += 1
                    break
            await asyncio.sleep(min(10, 1 + tries))
            tries += 1
        self.told.open -= 1

    async def follows(self, who: Seated) -> None:
        """The socket that a class's browser keeps open, and opens again; what a new one says of the
        browser's own ballot has to be one that the browser made."""
        tries = 0
        while not self.over.is_set():
            with suppress(OSError, WebSocketException, InvalidHandshake, TimeoutError):
                async with connect(
                    self.address.replace("http", "ws", 1) + "/live",
                    additional_headers={"Cookie": who.cookie},
                    origin=self.address,  # type: ignore[arg-type]
                    proxy=None,
                    ping_interval=None,
                ) as heard:
                    kept = [word for member, _, word in self.told.ballots if member == who.member]
                    async for message in heard:
                        tries = 0
                        screen = json.loads(message)
                        if "mine" not in screen:
                            continue
                        if kept and "vote" in screen and not screen["mine"]:
                            self.told.forgotten["a ballot that was kept is not shown"] += 1
                        kept = []
            await asyncio.sleep(min(10, 2**tries) * (0.5 + random.random()))
            tries += 1

    # -- lessons ------------------------------------------------------------------------------

    async def learns(self, who: Seated, dice: random.Random) -> None:
        """Answers of lessons, by the pages; where the socket is gone a new page is opened."""
        classroom_play._ANSWERING = 0.1, 0.4
        while not self.over.is_set():
            log = classroom_play.Log()
            log.answers = self.told.answers
            learner = classroom_play.Learner(0, self.address, log, dice)
            learner.name, learner.browser.cookie = who.name, who.cookie
            try:
                await learner.browser.open("lessons")
                while not self.over.is_set():
                    before = sum(log.errors.values())
                    await learner.answer()
                    if sum(log.errors.values()) > before:
                        break
                    await asyncio.sleep(dice.uniform(0.5, 2.0))
            except (Broken, OSError, WebSocketException, httpx.HTTPError):
                pass
            finally:
                with suppress(Exception):
                    await learner.browser.close()
            await asyncio.sleep(dice.uniform(0.5, 2.0))

    # -- the door -----------------------------------------------------------------------------

    async def joins(self, code: str, name: str) -> None:
        """The form of the door, sent again until somebody is in, with what its page holds."""
        form = {"code": code, "name": name, "resume": ""}
        while True:
            with suppress(httpx.HTTPError):
                if "form" not in form:
                    page = (await self.http.get(f"{self.address}/join")).text
                    form["form"] = _field(page, "form")
                asked = self.http.build_request("POST", f"{self.address}/join", data=form)
                asked.headers.pop("cookie", None)  # of who joined before: another browser's
                answer = await self.http.send(asked)
                if answer.status_code == 200:
                    self.told.joins[name] = re.findall(r"id=resume>([\w-]+)<", answer.text)[0]
                    return
                if answer.status_code != 503:
                    self.told.refused[f"/join {answer.status_code}"] += 1
                    return
                form["form"] = _field(answer.text, "form") or form["form"]
            await asyncio.sleep(2.0)


def _field(page: str, name: str) -> str:
    found = re.search(rf'name={name}[^>]* value="([^"]*)"', page)
    return unescape(found[1]) if found else ""
