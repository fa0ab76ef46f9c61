"""What Streamlit does at every run of every page, done so that many pages can run at once, and what
it and its server leave out before strangers.

Each method that is replaced, with its reason, stands in `REPLACED` at the end of this file; nothing
else of their insides is touched. `STRATA_PLAIN_STREAMLIT=1` leaves all of it as it is but for what
stands in `ALWAYS`: slower with many learners, and a press may be lost, but every page and lesson
works.
"""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from typing import Any

from streamlit import config, net_util
from streamlit.components.v2.bidi_component import main as components
from streamlit.runtime import Runtime
from streamlit.runtime.app_session import AppSession
from streamlit.runtime.backend_operation_handler import DeferredFileHandler
from streamlit.runtime.memory_media_file_storage import MemoryMediaFileStorage
from streamlit.runtime.scriptrunner import ScriptRunContext, ScriptRunner
from streamlit.runtime.state import SafeSessionState
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from strata.runtime.later_loop import LaterLoop
from strata.ui.server import files, turns
from strata.ui.server.connections import connections
from strata.ui.server.tabs import tabs

_run = ScriptRunner._run_script
_begin = ScriptRunContext.on_script_start
_enqueue = ScriptRunContext.enqueue
_connect = Runtime.connect_session
_hear = SafeSessionState.on_script_will_rerun
_open_session = AppSession.__init__
_accept = AutoHTTPProtocol.connection_made
# What changes while a server runs, as a file of settings does, is seen by `_forget_options`.
_option = cache(config.get_option)
_section = cache(config.get_options_for_section)


@dataclass(frozen=True)
class Replacement:
    """One function of Streamlit's that is replaced, and what to know before touching it."""

    purpose: str  # by which STRATA_PLAIN_STREAMLIT names it, with others of the same purpose
    owner: Any
    name: str
    ours: Callable[..., Any]
    why: str
    gain: str  # measured; docs/architecture.md says how
    until: str  # what would make it unnecessary upstream
    source: str  # of Streamlit's own, when ours was written: the beginning of its SHA-256
    own: Callable[..., Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "own", getattr(self.owner, self.name))

    @property
    def changed(self) -> str:
        """What to do now that Streamlit's own function is another one; "" while it is not."""
        found = hashlib.sha256(inspect.getsource(self.own).encode()).hexdigest()[:16]
        if found == self.source:
            return ""
        package = self.own.__module__.partition(".")[0]
        return (
            f"{package.title()} {version(package)} has changed {self.own.__qualname__}, which "
            f"Strata replaces: {self.why} It is unnecessary once {self.until} Look whether ours "
            f"still fits or can go, then write down source={found!r}."
        )


def mend() -> None:
    """Have Streamlit do so in this process. Before its server is made, which keeps its methods."""
    left = os.environ.get("STRATA_PLAIN_STREAMLIT", "").split(",")
    if "1" in left:
        left = [each.purpose for each in REPLACED]
    for each in REPLACED:
        if each.purpose not in left or each.purpose in ALWAYS:
            setattr(each.owner, each.name, each.ours)
    if "settings" not in left:
        config.on_config_parsed(_forget_options, force_connect=True)


def _forget_options() -> None:
    _option.cache_clear()
    _section.cache_clear()


def _options_for_section(section: str) -> dict[str, Any]:
    return dict(_section(section))


def _hear_whole(state: SafeSessionState, *said: Any, **more: Any) -> None:
    """A callback's `st.stop` and `st.switch_page` act when all callbacks are done."""
    runner: Any = state._yield_callback.__self__  # type: ignore[attr-defined]
    runner._execing = False  # it gives way only where it executes a page
    try:
        _hear(state, *said, **more)
    finally:
        runner._execing = True


def _begin_in_turn(context: ScriptRunContext) -> None:
    _begin(context)
    tab = tabs.of(context.session_id)
    turns.take(tab.who.name if tab is not None else context.session_id)


def _enqueue_in_turn(context: ScriptRunContext, message: Any) -> None:
    turns.stand_back()
    _enqueue(context, message)


def _run_to_the_end(runner: ScriptRunner, asked: Any) -> None:
    try:
        _run(runner, asked)
    finally:
        turns.give_back()


def _connect_counted(server: Runtime, *told: Any, **more: Any) -> str:
    session = _connect(server, *told, **more)
    tabs.connected(session)
    return session


def _no_address() -> None:
    """Nobody outside is asked."""


def _open_without_a_loop(session: AppSession, *told: Any, **more: Any) -> None:
    _open_session(session, *told, **more)
    session._script_event_loop.close()
    session._script_event_loop = LaterLoop()  # type: ignore[abstract]


def _connect_for_a_while(protocol: Any, transport: Any) -> None:
    _accept(protocol, transport)
    connections.begin(transport)


def _with_events(aggregator: str, *_: object) -> Callable[[Any, Any], Any]:
    """Shows a component's state with what it has just triggered, as Streamlit's own does."""

    def present(state: Any, session: Any) -> Any:
        try:
            said = session._new_widget_state[aggregator]
        except KeyError:
            return state
        said = [said] if isinstance(said, dict) else said or ()
        events = [each for each in said if isinstance(each, dict) and "event" in each]
        if not events or not isinstance(state, dict):
            return state
        return {**{each["event"]: each.get("value") for each in events}, **state}

    return present


ALWAYS = ("files", "outside")  # what a server does not do without
REPLACED = (
    Replacement(
        "turns",
        ScriptRunContext,
        "on_script_start",
        _begin_in_turn,
        why="Pages run in turns, see turns.py: from when Streamlit has heard what the browser "
        "wants.",
        gain="95 of 100 views within 1.55 s, 4.24 s without",
        until="the number of pages that run at once can be set.",
        source="d493bb00d5ed9fb0",
    ),
    Replacement(
        "turns",
        ScriptRunner,
        "_run_script",
        _run_to_the_end,
        why="The turn that a page took is given back, however its run ends.",
        gain="as on_script_start",
        until="the number of pages that run at once can be set.",
        source="b576d3acf1a5b905",
    ),
    Replacement(
        "turns",
        ScriptRunContext,
        "enqueue",
        _enqueue_in_turn,
        why="Who has had much lately stands still before the next element while another's page "
        "runs: Python shares its time between threads, not between learners.",
        gain="as on_script_start",
        until="the number of pages that run at once can be set.",
        source="241f79ff48c8bed9",
    ),
    Replacement(
        "presses",
        SafeSessionState,
        "on_script_will_rerun",
        _hear_whole,
        why="What the browser wants is heard whole, and callbacks run to their end, before a run "
        "gives way to a newer wish. By itself Streamlit gives way at any touch of a session's "
        "state, and what was pressed is then lost.",
        gain="0 of 1,000 presses lost, 13 without",
        until="a run hears its widgets and runs their callbacks before it may be overtaken.",
        source="61c14e58f2181666",
    ),
    Replacement(
        "settings",
        config,
        "get_option",
        _option,
        why="Settings are read without a lock. By itself Streamlit takes one lock at each "
        "reading, some hundred times a run, and where pages run at once most of them stand in "
        "line for it.",
        gain="half of all views within 0.74 s, 1.19 s without",
        until="a setting is read without a lock.",
        source="6111a47967a9b84c",
    ),
    Replacement(
        "settings",
        config,
        "get_options_for_section",
        _options_for_section,
        why="Settings of a section are read without a lock, as single ones are.",
        gain="as get_option",
        until="a setting is read without a lock.",
        source="3673c44057652c6c",
    ),
    Replacement(
        "presenter",
        components,
        "make_bidi_component_presenter",
        _with_events,
        why="A component's state is shown with what it has just triggered, by a plain dict. By "
        "itself Streamlit makes a new class for each component at each reading of all session "
        "state, which every select box and text field does once a run: three quarters of the "
        "garbage.",
        gain="half of all views within 0.74 s, 0.94 s without",
        until="no class is made for each reading.",
        source="b9bef4bdbffc6838",
    ),
    Replacement(
        "tabs",
        Runtime,
        "connect_session",
        _connect_counted,
        why="A connection and its session are known as one learner's, see tabs.py: so learners "
        "take turns, not tabs, and what a closed tab held is given back at once.",
        gain="30 tabs of one learner have one turn, not 30",
        until="a connection's handler is told which session it serves.",
        source="bb700a93a90ffc28",
    ),
    Replacement(
        "descriptors",
        AppSession,
        "__init__",
        _open_without_a_loop,
        why="A session makes an event loop when it needs one. By itself Streamlit makes one for "
        "each session, for scripts that run something in it, which no page does.",
        gain="2 descriptors a learner, 5 without",
        until="a loop is made when a script asks for it.",
        source="64cab45766dcefc4",
    ),
    Replacement(
        "descriptors",
        AutoHTTPProtocol,
        "connection_made",
        _connect_for_a_while,
        why="Each connection is looked after, see connections.py. By itself Uvicorn waits without "
        "end for a request that was begun, and for who does not read its answer.",
        gain="1,100 requests that are never ended stop no server",
        until="Uvicorn has a timeout for a request's head, for its body and for writing.",
        source="6efb565ff3d36b91",
    ),
    Replacement(
        "files",
        MemoryMediaFileStorage,
        "load_and_get_id",
        files.keep_and_note,
        why="Whose page has a file is noted, see files.py. By itself Streamlit serves a page's "
        "files to whoever knows their addresses.",
        gain="a gradebook is served to the teacher's seat only",
        until="a file is served to its session only.",
        source="3e27adb91d2b6495",
    ),
    Replacement(
        "files",
        DeferredFileHandler,
        "handle",
        files.make_for_its_page,
        why="A file that is made at a press is made for its button's page, and whose that is "
        "is noted. By itself Streamlit makes it for any session that names the button.",
        gain="as load_and_get_id",
        until="a file is made for its session only.",
        source="69e0682d6af76fbc",
    ),
    Replacement(
        "outside",
        net_util,
        "get_external_ip",
        _no_address,
        why="Nobody outside is asked for this machine's address. By itself Streamlit asks a server "
        "of Amazon's, while all browsers wait, at each socket whose origin is not its host as it "
        "is written.",
        gain="2.1 s in which a server without the internet answers nobody, for each such socket",
        until="it is asked only where the settings say so.",
        source="90eeef84e6aa2226",
    ),
)
