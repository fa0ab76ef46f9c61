"""A learner's browser without a screen, one of hundreds in one thread: joins, reads pages, acts.

It decodes of a message only what acting needs: which widgets there are and where a run ends. As a
browser does, it keeps large messages and tells the server which, sends the widgets that it has
moved, and reruns what the page wants rerun by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

PATIENCE = 120.0  # seconds; an answer that takes longer is an error


class Broken(Exception):
    """The page did not come, or said that something is wrong."""


@dataclass
class Widget:
    """What acting on a widget needs to know of it."""

    id: str
    kind: str  # of its element or block
    proto: Any
    options: list[str] = field(default_factory=list)


class Browser:
    """One session. `join` and `open` it, act by `slide`, `choose`, `write`, `press`, then close."""

    def __init__(self, address: str, cookie: str = "") -> None:
        self.address = address
        self.widgets: dict[str, Widget] = {}  # of what is shown, by key
        self.refusal = ""  # what the page says is wrong
        self.cookie = cookie  # of a seat, once it has one
        self.session = ""  # the id that the server gave it
        self._socket: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._page, self._hash, self._query = "", "", ""
        self._states: dict[str, WidgetState] = {}
        self._kept: dict[str, tuple[int, Any]] = {}  # large messages: the run that had them last
        self._run = 0
        self._done: asyncio.Future[None] | None = None
        self._again: dict[str, asyncio.Task[None]] = {}  # fragments that rerun by themselves
        self._tabs: Widget | None = None
        self.on_fragment: Callable[[float], None] = lambda seconds: None
        self._fragment_since = 0.0

    async def join(self, http: httpx.AsyncClient, code: str, name: str) -> None:
        """Through the door of learners."""
        await self._enter(http, "/join", {"code": code, "name": name})

    async def teach(self, http: httpx.AsyncClient, secret: str) -> None:
        """Through the teacher's door."""
        await self._enter(http, "/teach", {"secret": secret})

    async def _enter(self, http: httpx.AsyncClient, door: str, form: dict[str, str]) -> None:
        body = "&".join(f"{name}={quote(value)}" for name, value in form.items())
        answer = await http.post(self.address + door, content=body)
        cookie = answer.headers.get("set-cookie", "")
        if answer.status_code not in (200, 303) or not cookie:
            raise Broken(f"{door} answered {answer.status_code}")
        self.cookie = cookie.split(";")[0]

    async def open(self, page: str, query: str = "") -> float:
        """A page by its address; seconds until it is complete."""
        self._page, self._query = page, query
        self._socket = await connect(
            self.address.replace("http", "ws", 1) + "/_stcore/stream",
            subprotocols=["streamlit"],  # type: ignore[list-item]
            additional_headers={"Cookie": self.cookie},
            origin=self.address,  # type: ignore[arg-type]
            max_size=None,
            compression=None,  # the server offers none
            proxy=None,
            ping_interval=None,
        )
        self._reader = asyncio.create_task(self._read())
        return await self._change()

    async def close(self) -> None:
        for task in self._again.values():
            task.cancel()
        if self._reader is not None:
            self._reader.cancel()
        if self._socket is not None:
            await self._socket.close()

    async def closed(self) -> None:
        """Wait until the server closes it."""
        if self._reader is not None:
            await self._reader

    # -- acting: each returns the seconds until the page is complete again ------------------------

    async def again(self) -> float:
        """The page as it is, once more."""
        return await self._change()

    async def slide(self, key: str, *values: float) -> float:
        """A slider of numbers, with one handle or two."""
        state = self._state(key)
        state.double_array_value.data.extend(values)
        return await self._change(state)

    async def slide_to(self, key: str, option: str) -> float:
        """A slider of options."""
        state = self._state(key)
        state.string_array_value.data.append(option)
        return await self._change(state)

    async def write(self, key: str, text: str, press: str = "") -> float:
        """A field's text, an option's words, or a tab's label; `press`: the button of its form."""
        state = self._state(key)
        state.string_value = text
        if not press:
            return await self._change(state)
        self._states[state.id] = state
        return await self.press(press)

    async def switch(self, key: str, on: bool) -> float:
        """A toggle, or whether something is open."""
        state = self._state(key)
        state.bool_value = on
        return await self._change(state)

    async def set(self, key: str, number: float) -> float:
        """A field of a number."""
        state = self._state(key)
        state.double_value = number
        return await self._change(state)

    async def press(self, key: str) -> float:
        """A button."""
        state = self._state(key)
        state.trigger_value = True
        return await self._change(state)

    async def send_press(self, key: str) -> None:
        """Press a button, and do not wait for what comes of it."""
        assert self._socket is not None
        state = self._state(key)
        state.trigger_value = True
        await self._socket.send(self._with(state).SerializeToString())

    @property
    def query(self) -> str:
        """What the address holds after the question mark."""
        return self._query

    def value(self, key: str) -> WidgetState | None:
        """What this browser has put into a widget."""
        return self._states.get(self.widgets[key].id)

    def _state(self, key: str) -> WidgetState:
        return WidgetState(id=self.widgets[key].id)

    async def _change(self, state: WidgetState | None = None) -> float:
        assert self._socket is not None
        message = self._message() if state is None else self._with(state)
        self._done = asyncio.get_running_loop().create_future()
        start = time.perf_counter()
        await self._socket.send(message.SerializeToString())
        try:
            async with asyncio.timeout(PATIENCE):  # `wait_for` may lose a cancellation
                await self._done
        except TimeoutError:
            raise Broken(f"no answer within {PATIENCE:g} s") from None
        return time.perf_counter() - start

    def _with(self, state: WidgetState) -> BackMsg:
        """What a browser says when this widget is what has changed."""
        message = self._message()
        if state.WhichOneof("value") != "trigger_value":
            self._states[state.id] = state
        message.rerun_script.widget_states.widgets.extend(
            [*(each for name, each in self._states.items() if name != state.id), state]
        )
        return message

    def _message(self, fragment: str = "") -> BackMsg:
        message = BackMsg()
        client = message.rerun_script
        client.query_string = self._query
        if self._hash:
            client.page_script_hash = self._hash
        else:
            client.page_name = self._page
        client.cached_message_hashes.extend(self._kept)
        if fragment:
            client.fragment_id, client.is_auto_rerun = fragment, True
            client.widget_states.widgets.extend(self._states.values())
        return message

    # -- reading ----------------------------------------------------------------------------------

    async def _read(self) -> None:
        assert self._socket is not None
        try:
            async for received in self._socket:
                self._take(ForwardMsg.FromString(received))
        except ConnectionClosed as error:
            self._fail(f"the connection was closed ({error})")
        except Exception as error:  # a bug here must not look like a slow server
            self._fail(repr(error))

    def _fail(self, why: str) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(Broken(why))

    def _take(self, message: ForwardMsg) -> None:
        kind = message.WhichOneof("type")
        if kind == "ref_hash":
            _, delta = self._kept[message.ref_hash]
            self._kept[message.ref_hash] = self._run, delta
            self._note(delta)
        elif kind == "delta":
            if message.metadata.cacheable:
                self._kept[message.hash] = self._run, message.delta
            self._note(message.delta)
        elif kind == "new_session":
            self.session = message.new_session.initialize.session_id
            if not message.metadata.run.fragment_ids:
                self.widgets, self.refusal = {}, ""
                for task in self._again.values():
                    task.cancel()
                self._again = {}
            self._run += 1
        elif kind == "navigation":
            self._hash = message.navigation.page_script_hash
        elif kind == "page_info_changed":
            self._query = message.page_info_changed.query_string
        elif kind == "auto_rerun":
            asked = message.auto_rerun
            if asked.fragment_id not in self._again:
                again = self._rerun(asked.fragment_id, asked.interval)
                self._again[asked.fragment_id] = asyncio.create_task(again)
        elif kind == "script_finished":
            self._finished(message.script_finished)

    def _finished(self, status: int) -> None:
        if status == ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY:
            self.on_fragment(time.perf_counter() - self._fragment_since)
            return
        if status == ForwardMsg.FINISHED_EARLY_FOR_RERUN:
            return
        self._kept = {h: kept for h, kept in self._kept.items() if kept[0] > self._run - 2}
        shown = {widget.id for widget in self.widgets.values()}
        self._states = {i: state for i, state in self._states.items() if i in shown}
        if self._done is None or self._done.done():
            return
        if status != ForwardMsg.FINISHED_SUCCESSFULLY:
            self._done.set_exception(Broken("the page did not run to its end"))
        elif self.refusal:
            self._done.set_exception(Broken(self.refusal))
        else:
            self._done.set_result(None)

    async def _rerun(self, fragment: str, every: float) -> None:
        while True:
            await asyncio.sleep(every)
            assert self._socket is not None
            if self._done is not None and not self._done.done():
                continue  # as a browser: what is asked by itself waits
            self._fragment_since = time.perf_counter()
            await self._socket.send(self._message(fragment).SerializeToString())

    def _note(self, delta: Any) -> None:
        if delta.WhichOneof("type") == "add_block":
            block = delta.add_block
            kind = block.WhichOneof("type") or ""
            part: Any = getattr(block, kind) if kind else block
            if kind == "tab" and self._tabs is not None:
                self._tabs.options.append(part.label)
                return
            if block.id.startswith("say_refusal") or "-say_refusal" in block.id:
                self.refusal = f"the page refuses ({block.id})"
            widget = self._remember(getattr(part, "id", "") or block.id, kind, part)
            if kind == "tab_container":
                self._tabs = widget
            return
        element = delta.new_element
        kind = element.WhichOneof("type") or ""
        part = getattr(element, kind) if kind else None
        if kind == "exception":
            self.refusal = f"{part.type}: {part.message}"
            return
        if kind == "toast" and "cannot" in part.body:
            self.refusal = part.body
        self._remember(getattr(part, "id", ""), kind, part)

    def _remember(self, widget_id: str, kind: str, part: Any) -> Widget | None:
        """Ids end with the widget's key, if it has one."""
        if not widget_id.startswith("$$"):
            return None
        key = widget_id.split("-", 2)[-1]
        widget = self.widgets[key] = Widget(widget_id, kind, part)
        if getattr(part, "set_value", False):
            self._states.pop(widget_id, None)
        return widget
