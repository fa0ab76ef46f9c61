"""A browser's side of Streamlit's websocket with nothing that keeps it to what a page offers."""

from __future__ import annotations

from socket import SHUT_RDWR
from types import TracebackType
from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

PATIENCE = 120  # seconds


class Socket:
    """One connection; a context manager. `session`: the id of a session to go on with; `lost`: it
    ends as where a network fails, not as a browser closes it."""

    def __init__(
        self, address: str, cookie: str = "", session: str = "", lost: bool = False
    ) -> None:
        self._lost = lost
        # A browser can only send words here: the first is the protocol, the third a session's id.
        protocols = ["streamlit", "none", session] if session else ["streamlit"]
        self._socket = connect(
            address.replace("http", "ws", 1) + "/_stcore/stream",
            subprotocols=protocols,  # type: ignore[arg-type]
            additional_headers={"Cookie": f"strata_seat={cookie}"} if cookie else {},
            max_size=None,
            proxy=None,
        )
        self.received: list[ForwardMsg] = []  # of the latest run
        self.raw: list[bytes] = []  # the same as it came
        self.session = ""
        self.ids: dict[str, str] = {}  # of the latest run's widgets, by their keys
        self.kinds: dict[str, str] = {}
        self.fragments: set[str] = set()

    def __enter__(self) -> Socket:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._lost:
            self._socket.socket.shutdown(SHUT_RDWR)
        self._socket.close()

    def run(self, page: str, query: str = "", *states: WidgetState, **more: Any) -> None:
        """Ask for a run of the script and wait for its end."""
        message = BackMsg()
        client = message.rerun_script
        client.page_name, client.query_string = page, query
        client.widget_states.widgets.extend(states)
        for name, value in more.items():
            setattr(client, name, value)
        self.send(message)
        self.wait()

    def send(self, message: BackMsg | bytes) -> None:
        raw = message if isinstance(message, bytes) else message.SerializeToString()
        self._socket.send(raw)

    def wait(self) -> None:
        """Receive until a run has ended."""
        self.received, self.raw, self.ids, self.kinds = [], [], {}, {}
        while True:
            raw = self._socket.recv(timeout=PATIENCE)
            assert isinstance(raw, bytes)
            answer = ForwardMsg.FromString(raw)
            self.received.append(answer)
            self.raw.append(raw)
            self._note(answer)
            ended = answer.WhichOneof("type") == "script_finished"
            if ended and answer.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                return

    def drained(self, seconds: float = 1.0, whole: bool = False) -> list[bytes]:
        """What comes within a while, unread; `whole`: until the server closes the connection."""
        raw: list[bytes] = []
        try:
            while True:
                raw.append(bytes(self._socket.recv(timeout=seconds)))  # type: ignore[arg-type]
        except TimeoutError:
            assert not whole, "it was not closed"
        except ConnectionClosed:
            if not whole:
                raise
        return raw

    @property
    def said(self) -> str:
        """All that the latest run sent: words and tables stand in a message as they are."""
        return b"\n".join(self.raw).decode("utf-8", "replace")

    @property
    def errors(self) -> list[Any]:
        """What the latest run shows of exceptions."""
        elements = (m.delta.new_element for m in self.received if m.HasField("delta"))
        return [each.exception for each in elements if each.HasField("exception")]

    def _note(self, answer: ForwardMsg) -> None:
        kind = answer.WhichOneof("type")
        if kind == "new_session":
            self.session = answer.new_session.initialize.session_id
        if kind != "delta":
            return
        if answer.delta.fragment_id:
            self.fragments.add(answer.delta.fragment_id)
        element = answer.delta.new_element
        named = element.WhichOneof("type") if answer.delta.HasField("new_element") else None
        if named:
            self._widget(named, getattr(getattr(element, named), "id", ""))
        elif answer.delta.HasField("add_block"):
            block = answer.delta.add_block
            self._widget("block", block.tab_container.id or block.id)

    def _widget(self, kind: str, widget: str) -> None:
        """Ids end with the widget's key, if it has one."""
        if widget.startswith("$$"):
            key = widget.split("-", 2)[-1]
            self.ids[key], self.kinds[key] = widget, kind
