"""Who is learning: the one at this laptop, whoever typed a resume code, or a member of a class."""

from __future__ import annotations

from contextlib import suppress
from datetime import tzinfo
from functools import cache
from ipaddress import ip_address
from threading import Lock
from urllib.parse import urlsplit

import streamlit as st

from strata.classroom import class_mode
from strata.classroom.codes import new_code
from strata.classroom.roster import PROMPTS_LAST, Class, Roster, Seat, zone_named
from strata.errors import StrataError
from strata.lessons.progress import LOCAL, Progress
from strata.runtime.folders import state
from strata.storage.database import Database, shared
from strata.storage.prompts import PromptStore
from strata.ui.server import door

TEACHER = "teacher"  # whose own answers are in no class
_KEPT = "ids_of_texts"  # by text, in a session without a member: those that it opened or sent
_lock = Lock()
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via")


def database() -> Database:
    """Where this server keeps what learners do and type."""
    return shared()


@cache
def _progress() -> Progress:
    return Progress(database(), state() / "outbox")


def progress() -> Progress:
    """Guesses and notes of all learners."""
    with _lock:  # `cache` alone would let two first callers each make one
        return _progress()


@cache
def roster() -> Roster:
    """All classes of this server."""
    return Roster(database())


@cache
def prompt_store() -> PromptStore:
    """Prompts that a link may name by their id."""
    return PromptStore(database())


def keep_prompt(text: str) -> str:
    """Keep a text for links, as this learner's; its id. StrataError if it cannot be kept, or the
    chosen model refuses it for this learner, for its length say."""
    refuse_if_too_long(text)
    return _keep(text)


def keep_set(text: str) -> str:
    """Keep a learner's own set as the text that it is, like a prompt, and so exported, deleted and
    forgotten with these; its id. StrataError if it cannot be kept. Whose prompts may be too long
    asks `refuse_if_too_long` of them before."""
    return _keep(text)


def refuse_if_too_long(prompt: str) -> None:
    """InputError for a prompt that the chosen model refuses for this learner, for its length say;
    StrataError where that cannot be said now."""
    from strata.ui.server.resources import accept  # takes seconds: torch and transformers

    drawn = st.session_state.get("choice")  # a browser may leave out what it chose
    accept(prompt, st.session_state.get("model") or (drawn.model if drawn else ""), learner())


def _keep(text: str) -> str:
    """A text's id. What a teacher sends once more is not kept once more: what a link brought was a
    learner's, and goes with that learner."""
    mine = member_id()
    known: dict[str, str] = {} if mine else st.session_state.setdefault(_KEPT, {})
    known[text] = prompt_store().save(text, mine, class_id(), known.get(text, ""))
    return known[text]


def kept_prompt(prompt_id: str) -> str | None:
    """The text that `keep_prompt` or `keep_set` gave this id in the learner's class, for a teacher
    in any of the classes here; None if there is none."""
    here = seat()
    teaches = here is not None and here.is_teacher
    text = prompt_store().load(prompt_id, None if teaches else class_id())
    if text is not None and not member_id():
        st.session_state.setdefault(_KEPT, {})[text] = prompt_id
    return text


def kept_for() -> str:
    """How long a text is kept for links, as the end of a sentence on that; "" for good."""
    return f" for {PROMPTS_LAST.days} days from when it was last sent" if class_mode() else ""


def learner() -> str:
    """Whose progress this is: `LOCAL` on one's own machine, a member's pseudonym in a class,
    otherwise this session's code."""
    here = seat()
    if here is not None:
        return here.member.id if here.member else TEACHER
    if is_local():
        return LOCAL
    if "resume_code" not in st.session_state:
        st.session_state["resume_code"] = new_code()
    return str(st.session_state["resume_code"])


def seat() -> Seat | None:
    """Who sits here, on a server that holds classes; None on any other.

    StrataError where nobody does: the door lets no such browser in, unless it was just let out.
    """
    if not class_mode():
        return None
    found = None
    if door.reception is not None:
        found = door.reception.seated(st.context.cookies.get(door.COOKIE, ""))
    if found is None:
        raise StrataError(
            "You have left the class, were taken out of it, or were away for long; open /join to "
            "come in."
        )
    return found


def beside() -> Seat | None:
    """The seat that this browser keeps beside its own; None if there is none, or nobody can say."""
    with suppress(StrataError):
        if door.reception is not None:
            return door.reception.seated(st.context.cookies.get(door.BESIDE, ""))
    return None


def group() -> Class | None:
    """The class of the learner here, if there is one."""
    here = seat()
    return here.group if here else None


def member_id() -> str:
    """The pseudonym of the member here, '' if there is none."""
    here = seat()
    return here.member.id if here and here.member else ""


def class_id() -> str:
    """The id of the class here, '' if there is none."""
    here = group()
    return here.id if here else ""


def time_zone() -> tzinfo:
    """The time zone of the browser here."""
    return zone_named(st.context.timezone)


def is_local() -> bool:
    """Whether server and browser are one machine, with no proxy between that could hide others."""
    headers = st.context.headers
    if any(name in headers for name in _FORWARDED):
        return False
    named = urlsplit(headers.get("Origin", "")).hostname or ""
    return is_loopback(str(st.get_option("server.address") or "")) and is_loopback(named)


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is that of this machine to itself."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
