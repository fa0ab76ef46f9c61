"""A member of a class who speaks to the server without a browser gets no further than with one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.exceptions import ConnectionClosed, InvalidStatus

from strata.classroom.roster import Class, Roster
from strata.storage.database import Database
from strata.storage.prompts import PromptStore
from strata.storage.tables import PromptRow
from tests.browser.shared import shared_class
from tests.hostile import Case, each_sink, of_kinds, text, try_all
from tests.ui.server.sockets import Socket
from tests.ui.server.test_hostile_door import encoded

MODEL = "smollm2-135m"
EVES = "Eve alone wrote this sentence of the violet zebra"
NEVER = (EVES, "Traceback", "site-packages", "root:x:0:0")
QUERY = "at k layers lesson step_of_lesson model example prompt target pins with follow span view "
QUERY += "second second_text beside positions where factor mode texts seed"
OWN_TEXT = "texts=Your+own+text+file"
PAGES = ("predictions", "hidden_states", "logit_lens", "scaling", "lessons", "class")


@dataclass(frozen=True)
class Hosted:
    """A server with two classes, Ann's and Eve's, Ann's without any model but one."""

    url: str
    database: Database
    ours: Class
    theirs: Class
    anns: Iterator[str]  # cookies
    eve: str
    eves_prompt: str  # the id of a stored prompt of the other class
    log: Path

    def join(self, group: Class, name: str) -> str:
        form = {"code": group.code, "name": name}
        answer = httpx.post(f"{self.url}/join", data=form, verify=False)
        assert answer.status_code == 200
        return answer.cookies["strata_seat"]

    @property
    def ann(self) -> str:
        """The cookie of one of Ours, each time of another: who opens many tabs waits."""
        return next(self.anns)

    def get(self, path: str, cookie: str = "", **more: Any) -> httpx.Response:
        headers = {"Cookie": f"strata_seat={cookie}"} if cookie else {}
        method = more.pop("method", "GET")
        address = f"{self.url}{path}"
        # Certificates take longer to read than most answers, and nothing here is encrypted.
        return httpx.request(method, address, headers=headers, timeout=60, verify=False, **more)


@pytest.fixture(scope="module")
def hosted() -> Iterator[Hosted]:
    url, folder = shared_class()
    database = Database(folder / "state" / "strata.sqlite")
    roster = Roster(database)
    ours, theirs = roster.create("Ours", model=MODEL), roster.create("Theirs " + EVES[:20])
    made = Hosted(url, database, ours, theirs, cycle(()), "", "", folder / "log.txt")
    anns, eve = [made.join(ours, "Ann") for _ in range(6)], made.join(theirs, "Eve")
    member = roster.members(theirs.id)[0]
    stored = PromptStore(database).save(EVES, member.id, theirs.id)
    yield replace(made, anns=cycle(anns), eve=eve, eves_prompt=stored)
    printed = made.log.read_text(errors="replace")
    database.close()
    assert EVES not in printed
    assert "\x1b]" not in printed


@pytest.fixture(autouse=True)
def up(hosted: Hosted) -> Iterator[None]:
    yield
    assert hosted.get("/readyz").status_code == 200


def nothing_leaks(socket: Socket, *, whole: bool = True) -> None:
    said = socket.said
    for never in NEVER:
        assert never not in said, never
    for error in socket.errors:
        assert not error.stack_trace
    if whole:
        assert not socket.errors


@each_sink(["query"], of_kinds("number", "path", "sql", "model", "all", "halves"))
def test_a_forged_address(hosted: Hosted, sink: str, cases: tuple[Case, ...]) -> None:
    pages = {case.text: PAGES[len(case.name) % len(PAGES)] for case in cases}

    def check(text: str) -> None:
        query = "&".join(f"{name}={encoded(text)}" for name in QUERY.split())
        with Socket(hosted.url, hosted.ann) as socket:
            socket.run(pages[text], query)
            nothing_leaks(socket)

    try_all(cases, check)


@pytest.mark.parametrize(
    ("page", "query"),
    [
        ("predictions", "prompt={}"),
        ("logit_lens", "second_text={}&second=own"),
        ("trajectories", "with={}&view=Several+prompts&method=PCA"),
        # Whose states are put in; without a pair's name the text itself says that it is one's own.
        ("patching", "second_text={}"),
        ("heads", "second_text={}&view=Change+a+head&change=Take+from+another+prompt"),
    ],
)
def test_a_prompt_of_another_class_is_not_there(hosted: Hosted, page: str, query: str) -> None:
    query = query.format(hosted.eves_prompt)
    with Socket(hosted.url, hosted.ann) as socket:
        socket.run(page, query)
        nothing_leaks(socket)
    if page in ("predictions", "patching", "heads"):  # and the link does open in its own class
        with Socket(hosted.url, hosted.eve) as socket:
            socket.run(page, query)
            assert EVES in socket.said


FORGED: dict[str, dict[str, Any]] = {
    "script": {"string_value": text("markup: script")},
    "megabyte": {"string_value": text("large: a megabyte")},
    "nul": {"string_value": "a\0b"},
    "path": {"string_value": "../../etc/passwd"},
    "hub id": {"string_value": "openai-community/gpt2"},
    "other model": {"string_value": "GPT-2"},
    "bool": {"bool_value": True},
    "double": {"double_value": math.nan},
    "int": {"int_value": -(2**62)},
    "trigger": {"trigger_value": True},
    "bytes": {"bytes_value": b"\xff\x00"},
    "json": {"json_value": "{not json"},
    "deep json": {"json_value": text("json: deep")},
    "json trigger": {"json_trigger_value": '[{"event": "chosen", "value": [1e999, "\\ud83d"]}]'},
}
ARRAYS: dict[str, tuple[str, list[Any]]] = {
    "nan": ("double_array_value", [math.nan]),
    "infinite": ("double_array_value", [math.inf]),
    "far": ("double_array_value", [1e18]),
    "below": ("double_array_value", [-5.0]),
    "between": ("double_array_value", [0.123]),
    "many": ("double_array_value", [0.0] * 10_000),
    "none": ("double_array_value", []),
    "whole": ("int_array_value", [2**31, -7]),
    "texts": ("string_array_value", [text("markup: image"), "9" * 5_000]),
}
FORGERIES = tuple(Case(name, "widget", name) for name in (*FORGED, *ARRAYS))


@each_sink(["widget"], FORGERIES)
@pytest.mark.parametrize("page", ["predictions", "logit_lens", "scaling", "gaussian_baseline"])
def test_forged_values_of_every_widget(
    hosted: Hosted, page: str, sink: str, cases: tuple[Case, ...]
) -> None:
    """Values that no widget would send are ignored or refused; who sends them spoils their own
    session at most."""

    def usual(socket: Socket) -> None:
        socket.run(page)
        assert "foot" in socket.said
        nothing_leaks(socket)

    def check(forged: str) -> None:
        with Socket(hosted.url, hosted.ann) as socket:
            usual(socket)  # whatever was forged before in another session
            states = []
            for widget in socket.ids.values():
                if forged in FORGED:
                    states.append(WidgetState(id=widget, **FORGED[forged]))
                else:
                    field, values = ARRAYS[forged]
                    states.append(WidgetState(id=widget))
                    getattr(states[-1], field).data.extend(values)
            try:
                socket.run(page, "", *states)
            except ConnectionClosed:  # a message over the limit
                assert forged == "megabyte"
            nothing_leaks(socket, whole=False)

    try_all(cases, check)
    with Socket(hosted.url, hosted.ann) as socket:
        usual(socket)


@pytest.mark.parametrize("model", ["GPT-2", "gpt2", "../..", "/tmp", "{{x}}", "http://x"])
def test_a_model_that_the_class_is_not_held_with(hosted: Hosted, model: str) -> None:
    with Socket(hosted.url, hosted.ann) as socket:
        socket.run("predictions", f"model={encoded(model)}")
        box = socket.ids["model"]
        socket.run("predictions", "", WidgetState(id=box, string_value=model))
        nothing_leaks(socket)
        assert "foot" in socket.said, "the page of the class's own model"


NOT_THERE = ("../app", "..%2f..%2fetc%2fpasswd", "class", "no_such", "\0", "/")


@each_sink(
    ["page_name", "page_script_hash", "fragment_id"],
    tuple(Case(repr(page), "page", page) for page in NOT_THERE),
)
def test_pages_that_are_not_there(hosted: Hosted, sink: str, cases: tuple[Case, ...]) -> None:
    with Socket(hosted.url, hosted.ann) as socket:

        def check(page: str) -> None:
            message = BackMsg()
            setattr(message.rerun_script, sink, page)
            socket.send(message)
            if sink == "fragment_id":  # of which no end is told where there is no such part
                said = b"\n".join(socket.drained())
            else:
                socket.wait()
                said = socket.said.encode()
            for never in (*NEVER, "New class"):
                assert never.encode() not in said, never
            socket.run("predictions")
            nothing_leaks(socket)

        socket.run("predictions")
        try_all(cases, check)


def test_the_teachers_page_is_not_a_learners(hosted: Hosted) -> None:
    with Socket(hosted.url, hosted.ann) as socket:
        socket.run("class")
        assert hosted.theirs.code not in socket.said
        assert hosted.ours.code not in socket.said
        nothing_leaks(socket)


@pytest.mark.parametrize("resumed", ["active", "left"])
def test_who_knows_the_id_of_a_session_does_not_get_it(hosted: Hosted, resumed: str) -> None:
    """Streamlit goes on with a session for who names its id, a random UUID that only its own
    browser is told; and only if the door says that the same browser asks."""
    with Socket(hosted.url, hosted.eve, lost=True) as eve:
        eve.run("predictions", f"prompt={hosted.eves_prompt}")
        assert EVES in eve.said
        if resumed == "active":
            with Socket(hosted.url, hosted.ann, eve.session) as ann:
                ann.run("predictions")
                assert ann.session != eve.session
                nothing_leaks(ann)
            eve.run("predictions")  # and Eve is not put out
            assert EVES in eve.said
    if resumed == "left":
        with Socket(hosted.url, hosted.ann, eve.session) as ann:
            ann.run("predictions")
            assert ann.session != eve.session
            nothing_leaks(ann)
    with Socket(hosted.url, hosted.eve, eve.session) as again:
        again.run("predictions")
        assert again.session == eve.session
        assert EVES in again.said, "her own browser goes on"


def test_a_file_of_another_session_is_not_read(hosted: Hosted) -> None:
    """Uploads are found by the session that made them, whoever names their ids."""
    with Socket(hosted.url, hosted.eve) as eve, Socket(hosted.url, hosted.ann) as ann:
        for socket in (eve, ann):
            for _ in range(5):  # a busy page may be run again before its end
                socket.run("gaussian_baseline", OWN_TEXT)
                if "text_file" in socket.ids:
                    break
        forged = WidgetState(id=ann.ids["text_file"])
        info = forged.file_uploader_state_value.uploaded_file_info.add()
        info.file_id, info.name, info.size = "1", "/etc/passwd", 10
        info.file_urls.file_id = "1"
        ann.run("gaussian_baseline", OWN_TEXT, forged)
        nothing_leaks(ann, whole=False)
        path = f"/_stcore/upload_file/{eve.session}/1"
        files = {"file": ("a.txt", EVES.encode())}
        assert hosted.get(path, method="PUT", files=files).status_code == 403
        for session in ("x", "../x", "00000000-0000-0000-0000-000000000000"):
            path = f"/_stcore/upload_file/{session}/1"
            answer = hosted.get(path, hosted.ann, method="PUT", files=files)
            assert answer.status_code in (400, 403, 404, 405)


def test_a_prompt_that_is_refused_is_not_stored(hosted: Hosted) -> None:
    def stored() -> int:
        with hosted.database.session() as session:
            mine = select(func.count()).where(PromptRow.class_id == hosted.ours.id)
            return session.scalar(mine) or 0

    def typed(socket: Socket, text: str) -> None:
        box = next(key for key in socket.ids if key.startswith("text_"))
        said = WidgetState(id=socket.ids[box], string_value=text)
        pressed = WidgetState(id=socket.ids["look_inside"], trigger_value=True)
        socket.run("predictions", "", said, pressed)

    before = stored()
    with Socket(hosted.url, hosted.ann) as socket:
        socket.run("predictions")
        for number in range(3):
            typed(socket, f"{number} " * 300)  # tokens: more than the model's 256
            assert "the limit is 256; shorten it" in socket.said
        assert stored() == before
        typed(socket, "A prompt of a few words")
        assert "foot" in socket.said
        assert stored() == before + 1


@pytest.mark.parametrize("cookie", ["", "forged", "' OR 1=1 --", "x" * 4_000, "forgotten"])
def test_without_a_seat_nothing_is_had(hosted: Hosted, cookie: str) -> None:
    if cookie == "forgotten":
        cookie = hosted.join(hosted.ours, "Tom")
        roster = Roster(hosted.database)
        roster.forget(next(m.id for m in roster.members(hosted.ours.id) if m.name == "Tom"))
    for path in ("/predictions", "/class", "/media/x", "/component/x", "/static/../predictions"):
        assert hosted.get(path, cookie).status_code in (303, 403, 404), path
    for path in ("/_stcore/host-config", "/_stcore/upload_file/a/b", "/_stcore/metrics"):
        assert hosted.get(path, cookie).status_code == 403, path
    with pytest.raises((InvalidStatus, ConnectionClosed)), Socket(hosted.url, cookie) as socket:
        socket.run("predictions")


@pytest.mark.parametrize("path", ["/_stcore/metrics", "/_stcore/metrics/", "/_stcore/agent/x"])
def test_what_a_seat_does_not_open(hosted: Hosted, path: str) -> None:
    assert "session" not in hosted.get(path, hosted.ann).text


@pytest.mark.parametrize("name", ["../../etc/passwd", "..%2f..%2fetc%2fpasswd", "0" * 56 + ".csv"])
@pytest.mark.parametrize("root", ["media", "component", "static", "_stcore/bidi-components"])
def test_no_file_is_read(hosted: Hosted, root: str, name: str) -> None:
    answer = hosted.get(f"/{root}/{name}", hosted.ann)
    assert "root:" not in answer.text
    assert answer.status_code in (303, 400, 403, 404) or "<title>Streamlit" in answer.text


RAW = {
    "debug_shutdown_runtime": BackMsg(debug_shutdown_runtime=True),
    "debug_disconnect_websocket": BackMsg(debug_disconnect_websocket=True),
    "clear_cache": BackMsg(clear_cache=True),
    "set_run_on_save": BackMsg(set_run_on_save=True),
    "stop_script": BackMsg(stop_script=True),
    "load_git_info": BackMsg(load_git_info=True),
    "nothing": BackMsg(),
    "garbage": b"\xff" * 100,
    "half": BackMsg(stop_script=True).SerializeToString()[:1],
    "megabytes": b"\x00" * 5_000_000,
}


@pytest.fixture(scope="module")
def eve(hosted: Hosted) -> Iterator[Socket]:
    """One session that goes on whatever others send."""
    with Socket(hosted.url, hosted.eve) as socket:
        socket.run("predictions")
        yield socket


@pytest.mark.parametrize("raw", RAW)
def test_other_messages(hosted: Hosted, eve: Socket, raw: str) -> None:
    """The server stays up, for others too, and tells nothing of itself."""
    with Socket(hosted.url, hosted.ann) as ann:
        ann.run("predictions")
        with suppress(ConnectionClosed):
            ann.send(RAW[raw])
        eve.run("predictions")  # which takes the server longer than to answer Ann
        assert "foot" in eve.said
        with suppress(ConnectionClosed):
            for answer in ann.drained(0.2):
                assert not [never for never in NEVER if never.encode() in answer]
