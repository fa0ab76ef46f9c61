"""How a class behaves: what its learners and its teacher do, how often, and what came of it."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter, defaultdict
from collections.abc import Awaitable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import httpx

from bench.classroom_client import Broken, Browser, Widget
from bench.classroom_votes import Polls

# What a learner does next, in shares of all actions: each kind is a method of `Learner`.
# Votes come on top of it, to all at once. To write a text is a dozen runs of the model and no view
# of the run that is there, so it is a kind of its own, and takes its share from the views.
MIX = {"view": 0.60, "shared prompt": 0.25, "new prompt": 0.10, "answer": 0.05, "text written": 0.0}
THINK = 10.0, 20.0  # seconds between two actions, uniform
_ANSWERING = 1.0, 3.0  # seconds from setting an answer to committing it
_ONWARD = 0.2  # of the view changes: to the lesson's next step
_POSITION = 0.5  # of the other view changes: another token
_OTHERS = (
    *("guess_", "example_", "text", "here_", "observation_", "model"),
    *("positions", "seed", "second", "append"),  # a word appended is a new prompt
)
_WRITING = "goes_on"  # what is opened to have the model write
_NOT_VIEWS = (*_OTHERS, "more", _WRITING, "typed_", "download", "link", "watched_")

_NAMES = "Ada Ben Cem Dora Emil Fay Gus Hana Ivo Jana Kim Lev Mona Nils Olga Paul Rosa Sam Tom Uma"
_PLACES = "river market garden library harbour mountain kitchen theatre station island".split()
_THINGS = "lantern letter violin basket window camera ladder mirror carpet bottle".split()
_OPENINGS = (
    "In the {place} {name} found a {thing} that belonged to",
    "{name} carried the {thing} to the {place} because",
    "Nobody in the {place} had seen the {thing} since {name}",
    "The {thing} near the {place} reminded {name} of",
)


def question_of(key: str) -> str:
    """The lesson and step, "predictions_0", of a field's key, which goes on with the attempt and
    with the field's place in an order."""
    found = re.match(r"guess_(.+?_\d+)_\d", key)
    assert found, key
    return found[1]


@dataclass
class Log:
    """What happened: seconds by kind of action, errors in words, answers committed by clients."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: Counter[str] = field(default_factory=Counter)
    answers: set[tuple[str, str]] = field(default_factory=set)  # learner, question
    controls: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    counting: bool = False  # from the end of the start-up on

    def add(self, kind: str, seconds: float, control: str = "") -> None:
        if self.counting or kind.startswith("enter"):
            self.seconds[kind].append(seconds)
            if control:
                name = control.rstrip("0123456789").rstrip("_")
                self.controls[f"{kind}: {name}"].append(seconds)


class Learner:
    """One learner with a browser, who plays a lesson until cancelled."""

    def __init__(
        self,
        number: int,
        address: str,
        log: Log,
        dice: random.Random,
        think: tuple[float, float] = THINK,
        texts: float = 0.0,
    ) -> None:
        self.number, self.log, self.dice, self.think = number, log, dice, think
        self.mix = MIX | {"view": MIX["view"] - texts, "text written": texts}
        self.name = f"{_NAMES.split()[number % 20]} {number}"
        self.browser = Browser(address)
        self._texts = 0

    async def play(
        self, http: httpx.AsyncClient, code: str, lesson: str, page: str, polls: Polls
    ) -> None:
        """Enter, then think and act for ever; an action that fails is counted."""
        await self._try("enter: door", self._joined(http, code))
        await self._try("enter: page", self.browser.open(page, f"lesson={lesson}"))
        voting = asyncio.create_task(self._vote(http, polls))
        try:
            await self._act()
        finally:
            voting.cancel()

    async def _vote(self, http: httpx.AsyncClient, polls: Polls) -> None:
        try:
            browser = self.browser
            await polls.follow(
                self.name, http, browser.address, browser.cookie, self.log.add, self.dice
            )
            self.log.errors["vote: the socket was closed"] += 1
        except* (OSError, httpx.HTTPError) as errors:
            for error in errors.exceptions:
                self.log.errors[f"vote: {error!r}"[:300]] += 1

    async def _act(self) -> None:
        while True:
            await asyncio.sleep(self.dice.uniform(*self.think))
            [kind] = self.dice.choices(list(self.mix), list(self.mix.values()))
            await getattr(self, kind.replace(" ", "_"))()

    async def _joined(self, http: httpx.AsyncClient, code: str) -> float:
        start = asyncio.get_running_loop().time()
        await self.browser.join(http, code, self.name)
        return asyncio.get_running_loop().time() - start

    async def _try(self, kind: str, act: Awaitable[float], control: str = "") -> bool:
        try:
            self.log.add(kind, await act, control)
            return True
        except (Broken, OSError, httpx.HTTPError, KeyError) as error:
            self.log.errors[f"{kind}: {error!r}"[:300]] += 1
            return False

    # -- what a learner does ----------------------------------------------------------------------

    async def view(self) -> None:
        """Another token, layer or tab; or on to the next step."""
        shown = self.browser.widgets
        if "step_on" not in shown:
            await self._into_a_lesson()
        elif self.dice.random() < _ONWARD:
            await self._press("view", "step_on")
        else:
            controls = [key for key in shown if self._is_view(key)]
            tokens = [key for key in controls if key.startswith("at")]
            if tokens and self.dice.random() < _POSITION:
                controls = tokens
            if controls:
                await self._move("view", self.dice.choice(controls))
            else:  # the figure waits for a prediction
                look = "look" if "look" in shown else "step_on"
                await self._press("view", look)

    async def shared_prompt(self) -> None:
        """The step's own prompt, or an example."""
        shown = self.browser.widgets
        example = next((key for key in shown if key.startswith("example_")), "")
        if "set_up" in shown and self.dice.random() < 0.7:
            await self._press("shared prompt", "set_up")
        elif example:
            options = list(shown[example].proto.options)[:-1]  # all but one's own text
            await self._write("shared prompt", example, self.dice.choice(options))
        else:
            await self._into_a_lesson()

    async def new_prompt(self) -> None:
        """A text that nobody has run."""
        box = next((key for key in self.browser.widgets if key.startswith("text_")), "")
        if not box:
            await self._into_a_lesson()
            return
        self._texts += 1
        text = self.dice.choice(_OPENINGS).format(
            name=f"{self.name} {self._texts}",
            place=self.dice.choice(_PLACES),
            thing=self.dice.choice(_THINGS),
        )
        await self._try("new prompt", self.browser.write(box, text, "look_inside"), box)

    async def text_written(self) -> None:
        """How the model goes on: open that, or choose another length."""
        shown = self.browser.widgets
        around = next((key for key in shown if key.startswith(_WRITING)), "")
        state = self.browser.value(around) if around else None
        if "more" in shown and state is not None and state.bool_value:
            await self._move("text written", "more")
        elif around:
            await self._move("text written", around)
        else:
            await self.view()

    async def answer(self) -> None:
        """Commit a prediction at the step, or at one of the next where this one has its answer.

        What leads there counts as what it is: going on and setting a field as view changes, the
        step's prompt as a shared prompt.
        """
        for _ in range(4):
            shown = self.browser.widgets
            if "commit_0" in shown or "step_on" not in shown:
                break
            if not await self._press("view", "step_on"):
                return
            await asyncio.sleep(self.dice.uniform(*_ANSWERING))
        if "commit_0" not in self.browser.widgets:
            await self._into_a_lesson()
            return
        if self.browser.widgets["commit_0"].proto.disabled and "set_up" in self.browser.widgets:
            if not await self._press("shared prompt", "set_up"):
                return
            await asyncio.sleep(self.dice.uniform(*_ANSWERING))
            if "commit_0" not in self.browser.widgets:
                return  # answered before, on this very prompt
        for _ in range(6):  # an ordering has a field for each place
            fields = [key for key in self.browser.widgets if key.startswith("guess_")]
            open_fields = [key for key in fields if self.browser.value(key) is None]
            if not open_fields or not await self._move("view", open_fields[-1]):
                break
            await asyncio.sleep(self.dice.uniform(*_ANSWERING))
        commit = self.browser.widgets.get("commit_0")
        if commit is None or commit.proto.disabled:
            self.log.errors["answer: a question could not be answered"] += 1
            return
        question = next(key for key in self.browser.widgets if key.startswith("guess_"))
        if await self._press("answer", "commit_0"):
            if "commit_0" in self.browser.widgets:
                self.log.errors["answer: no verdict was shown"] += 1
            else:
                self.log.answers.add((self.name, question_of(question)))

    async def _into_a_lesson(self) -> None:
        """From the list of lessons, or from exploring, back into a lesson."""
        shown = self.browser.widgets
        ways = [key for key in shown if key.startswith("open_")]
        ways = ways or [key for key in ("back_to_lesson", "to_lesson") if key in shown]
        if ways:
            await self._press("view", self.dice.choice(ways))
        else:
            self.log.errors["view: a page without a way on"] += 1

    # -- moving widgets ---------------------------------------------------------------------------

    def _is_view(self, key: str) -> bool:
        widget = self.browser.widgets[key]
        kinds = ("slider", "tab_container", "selectbox", "checkbox", "popover", "expandable")
        return widget.kind in kinds and not key.startswith(_NOT_VIEWS) and key != "None"

    async def _press(self, kind: str, key: str) -> bool:
        return await self._try(kind, self.browser.press(key), key)

    async def _write(self, kind: str, key: str, text: str) -> bool:
        return await self._try(kind, self.browser.write(key, text), key)

    async def _move(self, kind: str, key: str) -> bool:
        return await self._try(kind, self._moved(key, self.browser.widgets[key]), key)

    async def _moved(self, key: str, widget: Widget) -> float:
        """Some other value of a control or field of any kind."""
        browser, dice, proto = self.browser, self.dice, widget.proto
        if widget.kind == "slider" and proto.options:
            return await browser.slide_to(key, dice.choice(list(proto.options)))
        if widget.kind == "slider":
            steps = round((proto.max - proto.min) / (proto.step or 1))
            values = list(proto.default)
            while values == list(proto.default):  # that would be no move
                values = sorted(
                    proto.min + dice.randint(0, max(1, steps)) * proto.step for _ in proto.default
                )
            return await browser.slide(key, *values)
        if widget.kind in ("selectbox", "radio"):
            return await browser.write(key, dice.choice(list(proto.options)))
        if widget.kind == "tab_container":
            return await browser.write(key, dice.choice(widget.options))
        if widget.kind in ("text_input", "text_area"):
            return await browser.write(key, dice.choice(_THINGS))
        before = browser.value(key)
        return await browser.switch(key, not (before.bool_value if before else False))


class Teacher:
    """The teacher, who keeps the class's page open: it reruns its live part by itself."""

    def __init__(self, address: str, log: Log) -> None:
        self.browser, self.log = Browser(address), log
        self.browser.on_fragment = lambda seconds: log.add("teacher's live page", seconds)

    async def watch(self, http: httpx.AsyncClient, secret: str) -> None:
        """Enter and look on until cancelled."""
        try:
            await self.browser.teach(http, secret)
            self.log.add("enter: teacher", await self.browser.open("class"))
            await asyncio.Event().wait()
        except (Broken, OSError, httpx.HTTPError) as error:
            self.log.errors[f"teacher: {error!r}"[:300]] += 1


async def play(
    addresses: list[str],
    code: str,
    secret: str,
    lesson: tuple[str, str],
    learners: int,
    ramp: float,
    seconds: float,
    log: Log,
    counted: AbstractContextManager[object],
    polls: Polls,
    seed: int = 0,
    think: tuple[float, float] = THINK,
    warm: float = 0.0,
    texts: float = 0.0,
) -> None:
    """A whole class: enter one by one over `ramp` seconds, then play for `warm` and `seconds`.

    With several servers each browser keeps to one, as behind a proxy whose cookies stick.
    `counted` is entered when all are in and `warm` seconds have passed.
    """
    # A server closes a connection that was idle for 5 s; one reused at that very moment is lost.
    limits = httpx.Limits(max_connections=20, keepalive_expiry=2.0)
    everyone = [
        Learner(n, addresses[n % len(addresses)], log, random.Random(f"{seed} {n}"), think, texts)
        for n in range(learners)
    ]
    teacher = Teacher(addresses[0], log)
    async with httpx.AsyncClient(limits=limits, timeout=60, trust_env=False) as http:
        tasks = [asyncio.create_task(teacher.watch(http, secret))]
        for learner in everyone:
            tasks.append(asyncio.create_task(learner.play(http, code, *lesson, polls)))
            await asyncio.sleep(ramp / learners)
        await asyncio.sleep(think[0])  # the last ones open their page
        holding = asyncio.create_task(polls.hold())
        await asyncio.sleep(warm)
        log.counting = True
        with counted:
            await asyncio.sleep(seconds)
            holding.cancel()
        log.counting = False
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                log.errors[f"the bench itself: {result!r}"[:300]] += 1
        browsers = [each.browser for each in everyone] + [teacher.browser]
        await asyncio.gather(*(browser.close() for browser in browsers))
