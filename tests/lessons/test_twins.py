"""Until a prediction is committed nothing that a step hides can be read anywhere on the screen.

Every hidden step is opened on two servers whose models differ in nothing but their weights, so that
all which a model says differs. What the two send is compared word by word: texts, charts and their
alternatives, tables, files, the page's title. Once the learner looks, it must differ.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest, local_script_runner

from bench.classroom_client import Browser
from strata.concepts.views import concepts
from strata.lessons import Lesson, lessons
from tests import small
from tests.browser.shared import shared
from tests.loops import run_apart

FIRST = 3
BOXES = ("vertical", "horizontal", "column", "flex_container", "grid_container", "transparent")


class Reader(Browser):
    """A browser that keeps all it was sent of the page it shows, and what stands where by now."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.sent: list[str] = []
        self.drawn: dict[tuple[int, ...], str] = {}
        self._place: tuple[int, ...] = ()

    def _take(self, message: Any) -> None:
        kind = message.WhichOneof("type")
        if kind == "new_session" and not message.metadata.run.fragment_ids:
            self.sent, self.drawn = [], {}
        elif kind in ("navigation", "page_config_changed", "page_info_changed"):
            said = str(getattr(message, kind))
            self.sent.append(re.sub(r"prompt=[\w-]+", "prompt=", said))  # a random id
        self._place = tuple(message.metadata.delta_path)
        super()._take(message)

    def _note(self, delta: Any) -> None:
        self.drawn = {
            at: said for at, said in self.drawn.items() if at[: len(self._place)] != self._place
        }
        # How far a work is, its place once that is done, and a box around it, which says nothing by
        # itself: one server may be the busier.
        is_wait = delta.new_element.WhichOneof("type") in ("progress", "empty")
        is_box = delta.add_block.WhichOneof("type") in BOXES and not delta.add_block.id
        if not (is_wait or is_box):
            self.drawn[self._place] = str(delta)
            self.sent.append(str(delta))
        super()._note(delta)

    async def turn_to(self, page: str) -> None:
        """Another page in the same session, as by a link of the navigation."""
        self._hash, self._page = "", page
        await self._change()


class Twins:
    """The same learner on both servers."""

    def __init__(self, *addresses: str) -> None:
        self.pair = [Reader(address) for address in addresses]

    async def do(self, what: str, *given: Any) -> None:
        await asyncio.gather(*(getattr(each, what)(*given) for each in self.pair))

    def shows(self, key: str) -> bool:
        return key in self.pair[0].widgets

    @property
    def differs(self) -> list[str]:
        """What only one of the two was sent, and what of the page, from beginning to end, is there
        more often or in another order: not in which order it came, since of two things for one
        place a busy server sends the later one when it would have sent the first."""
        one, other = self.pair
        pages = zip_longest(*([each.drawn[at] for at in sorted(each.drawn)] for each in self.pair))
        apart = {str(said) for both in pages if both[0] != both[1] for said in both}
        return [*({*one.sent} ^ {*other.sent} | apart)]


@pytest.fixture(scope="module")
def addresses() -> tuple[str, str]:
    """Two servers on which nobody answers anything, with other weights."""
    one, other = (
        shared(f"twin_{seed}", lambda folder, seed=seed: small.with_a_lens(folder, seed))[0]
        for seed in (1, 2)
    )
    return one, other


async def compared(addresses: tuple[str, str], lesson: Lesson, count: int) -> None:
    """Of the first `count` steps."""
    twins = Twins(*addresses)
    await twins.do("open", lesson.page_of(0), f"lesson={lesson.stem}&step_of_lesson=1")
    for number, step in enumerate(lesson.steps[:count]):
        if step.hide and step.question is not None:
            assert twins.differs == [], f"{step.title}, as it is opened"
            if twins.shows("set_up"):
                await twins.do("press", "set_up")
                assert twins.differs == [], f"{step.title}, set up"
            await twins.do("press", "look")
            assert twins.differs, f"{step.title}: nothing of it was hidden"
        if number < count - 1:
            await twins.do("press", "step_on")
    await twins.do("close")


@pytest.mark.parametrize("stem", list(lessons()))
def test_a_hidden_step_tells_nothing_of_the_model(
    addresses: tuple[str, str], stem: str, thorough: bool
) -> None:
    """Of a lesson of one page its first steps, of the one that leads over all pages every step;
    thorough: every step of every lesson."""
    lesson = lessons()[stem]
    whole = thorough or stem == "capstone"
    run_apart(compared(addresses, lesson, len(lesson.steps) if whole else FIRST))


async def forget(twins: Twins, lesson: Lesson) -> None:
    """Begin a lesson anew: another test may have looked."""
    await twins.do("open", "lessons")
    if twins.shows(f"forget_{lesson.stem}"):
        await twins.do("switch", f"sure_{lesson.stem}", True)
        await twins.do("press", f"forget_{lesson.stem}")


async def guessed_wrongly(addresses: tuple[str, str], lesson: Lesson) -> None:
    twins = Twins(*addresses)
    await forget(twins, lesson)
    await twins.do("press", f"open_{lesson.stem}")
    if twins.shows("set_up"):
        await twins.do("press", "set_up")
    await twins.do("write", f"guess_{lesson.stem}_0_0", "elephant")
    await twins.do("press", "commit_0")
    assert twins.shows("commit_1"), "wrong on both"
    assert twins.differs == [], "and no more than that it is"
    await twins.do("press", "hint")
    await twins.do("turn_to", "hidden_states")
    assert twins.differs == [], "nor does another page tell it now"
    await twins.do("press", "back_to_lesson")
    assert twins.differs == []
    await twins.do("turn_to", "lessons")
    assert twins.shows(f"forget_{lesson.stem}")
    await twins.do("press", f"open_{lesson.stem}")
    await twins.do("write", f"guess_{lesson.stem}_0_1", "elephant")
    await twins.do("press", "commit_1")
    assert twins.shows("commit_1"), "the first guess again is no second try"
    await twins.do("write", f"guess_{lesson.stem}_0_1", "␣dog")
    await twins.do("press", "commit_1")
    assert twins.differs
    for one in twins.pair:
        told = [said for said in one.sent if "Your guess is in magenta" in said]
        assert len(told) == 1, "the guessed token has its bar"
        assert "dog" in told[0]
    await twins.do("close")


def test_a_wrong_guess_is_told_to_be_wrong_and_nothing_else(addresses: tuple[str, str]) -> None:
    run_apart(guessed_wrongly(addresses, lessons()["predictions"]))


async def seen_elsewhere(
    addresses: tuple[str, str], lesson: Lesson, number: int, others: Sequence[str]
) -> None:
    here = f"lesson={lesson.stem}&step_of_lesson={number + 1}"
    twins = Twins(*addresses)
    await forget(twins, lesson)
    await twins.do("close")
    twins = Twins(*addresses)
    await twins.do("open", lesson.page_of(number), here)
    for page in others:
        await twins.do("turn_to", page)
        assert twins.shows("back_to_lesson"), page
        assert twins.differs == [], page
    await twins.do("press", "explore")
    assert twins.differs, "who leaves the lesson sees all there is"
    await twins.do("close")


@pytest.mark.parametrize("turn", range(len(lessons())))
def test_no_other_page_tells_it_meanwhile(
    addresses: tuple[str, str], turn: int, thorough: bool
) -> None:
    """Of each lesson its last hidden step, with one other page, so that each page is one; thorough:
    with all."""
    lesson = list(lessons().values())[turn]
    number = max(n for n, step in enumerate(lesson.steps) if step.hide and step.question)
    pages = list(concepts())
    first = (turn + 1) % len(pages)  # the lessons come in the order of the pages
    others = [page for page in pages[first:] + pages[:first] if page != lesson.page_of(number)]
    run_apart(seen_elsewhere(addresses, lesson, number, others if thorough else others[:1]))


CHANNELS = ("doctor", "reading", "table", "code", "download", "title", "alt text", "a chart's rows")
CHANNELS += ("one more element", "the same once more", "order")


def leaking(channel: str, answer: str) -> None:  # run by itself, without the imports above
    import pandas as pd
    import streamlit as st

    from strata import charts
    from strata.ui.anatomy import style
    from strata.ui.anatomy.page import draw, reading
    from strata.ui.anatomy.table import show_table

    told = {"doctor": "", "reading": "", "table": "", "code": "", "download": ""}
    told |= {"title": "", "alt text": "", "a chart's rows": "", "one more element": ""}
    told |= {"the same once more": "", "order": "", channel: answer}
    style.name_window("A page", told["title"])
    style.say("note", f"The likeliest next token is {told['doctor']}.", "likeliest")
    reading(f"It is {told['reading']}.")
    show_table(pd.DataFrame({"token": [told["table"]]}))
    st.code(f"answer = {told['code']!r}")
    st.download_button("Download script", told["download"], "a.py", on_click="ignore")
    row = {"label": told["a chart's rows"], "order": 0, "value": 0.5, "logprob": -0.7}
    frame = pd.DataFrame([{**row, "chosen": False}])
    draw(charts.bars(frame, "What follows", told["alt text"]), "bars", read=False)
    if told["one more element"] == "Rome":
        st.text("Only where it is not Paris.")
    for city in ("Paris", "Rome") * (1 + (told["the same once more"] == "Rome")):
        st.text(city)
    for city in sorted(("Paris", "Rome"), reverse=told["order"] == "Rome"):
        st.code(city)


@pytest.mark.parametrize("channel", CHANNELS)
def test_one_planted_leak_turns_it_red(monkeypatch: pytest.MonkeyPatch, channel: str) -> None:
    """Where a page tells the answer in nothing but one place, the twins are seen to differ."""
    sent: list[Any] = []
    parse = local_script_runner.parse_tree_from_messages

    def kept(messages: list[Any]) -> Any:
        sent.extend(messages)
        return parse(messages)

    monkeypatch.setattr(local_script_runner, "parse_tree_from_messages", kept)
    twins = Twins("", "")
    for answers, leaks in ((("Paris", "Paris"), False), (("Paris", "Rome"), True)):
        for one, answer in zip(twins.pair, answers, strict=True):
            sent.clear()
            app = AppTest.from_function(leaking, args=(channel, answer)).run()
            assert not app.exception
            one.sent, one.drawn = [], {}
            for message in sent:
                one._take(message)
            assert len(one.sent) > len(CHANNELS)
        assert bool(twins.differs) is leaks
