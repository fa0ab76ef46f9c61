"""A browser without a screen: opens a page over Streamlit's own websocket and moves its widgets."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Delta_pb2 import Delta
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.sync.client import connect

_PATIENCE = 300  # seconds
_FOOT = "proof"  # the last thing that every page draws


class Visitor:
    """One session of one page. Close it when done; it is a context manager."""

    def __init__(self, address: str, page: str, query: str = "") -> None:
        self._page, self._query = page, query
        self._socket = connect(
            address.replace("http", "ws", 1) + "/_stcore/stream",
            subprotocols=["streamlit"],  # type: ignore[list-item]
            max_size=None,
            proxy=None,
        )
        self._states: dict[str, WidgetState] = {}
        self._ids: dict[str, str] = {}  # of what the latest run drew, by its key
        self.last = 0  # the largest value of the page's slider of positions
        self._run()

    def __enter__(self) -> Visitor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()

    def slide(self, key: str, value: float) -> float:
        """Move a slider; seconds until the page is complete again."""
        state = WidgetState(id=self._ids[key])
        state.double_array_value.data.append(value)
        return self._change(state)

    def choose(self, key: str, label: str) -> float:
        """Open a tab; seconds until the page is complete again."""
        return self.write(key, label)

    def write(self, key: str, text: str, press: str = "") -> float:
        """Put text into a field, and `press` the button of its form, if it is in one; seconds until
        the page is complete again."""
        state = WidgetState(id=self._ids[key], string_value=text)
        pressed = [WidgetState(id=self._ids[press], trigger_value=True)] if press else []
        return self._change(state, *pressed)

    def _change(self, state: WidgetState, *pressed: WidgetState) -> float:
        self._states[state.id] = state
        return self._run(*pressed)

    def _run(self, *pressed: WidgetState) -> float:
        message = BackMsg()
        client = message.rerun_script
        client.page_name, client.query_string = self._page, self._query
        client.widget_states.widgets.extend([*self._states.values(), *pressed])
        self._ids = {}
        start = time.perf_counter()
        self._socket.send(message.SerializeToString())
        while True:
            received = self._socket.recv(timeout=_PATIENCE)
            assert isinstance(received, bytes)
            answer = ForwardMsg.FromString(received)
            kind = answer.WhichOneof("type")
            if kind == "script_finished":
                if answer.script_finished == ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                    self._ids = {}  # drawn anew, sharper
                    continue
                taken = time.perf_counter() - start
                whole = answer.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY
                if not whole or _FOOT not in self._ids:
                    raise RuntimeError(f"the page {self._page} did not run to its end")
                return taken
            if kind == "delta":
                self._note(answer.delta)

    def _note(self, delta: Delta) -> None:
        if delta.WhichOneof("type") == "add_block":
            block = delta.add_block
            self._remember(block.tab_container.id or block.id)
            return
        element = delta.new_element
        kind = element.WhichOneof("type")
        part: Any = getattr(element, kind) if kind else element
        self._remember(getattr(part, "id", ""))
        if kind == "slider" and self._ids.get("at") == part.id:
            self.last = int(part.max)

    def _remember(self, widget: str) -> None:
        """Ids end with the widget's key, if it has one."""
        if widget.startswith("$$"):
            self._ids[widget.split("-", 2)[-1]] = widget
