"""A file of a page is had by whose page it is, and by nobody else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace

import httpx
import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import BackendOperationResponse, ForwardMsg
from streamlit.runtime.media_file_storage import MediaFileKind
from streamlit.runtime.memory_media_file_storage import MemoryMediaFileStorage

from strata.classroom.roster import Roster
from strata.lessons.progress import Progress
from strata.storage.database import Database
from strata.ui.server import files
from tests.browser.shared import SECRET, shared_class
from tests.lessons.test_progress import GUESS
from tests.ui.server.sockets import Socket


@dataclass(frozen=True)
class Hosted:
    url: str
    teacher: str  # cookies
    ann: str
    ben: str

    def get(self, path: str, cookie: str, method: str = "GET") -> httpx.Response:
        cookies = {"strata_seat": cookie}
        return httpx.request(method, self.url + path, cookies=cookies, verify=False, timeout=60)


@pytest.fixture(scope="module")
def hosted() -> Iterator[Hosted]:
    """A class whose gradebook has an answer of Ann's; Ben is in another class."""
    url, folder = shared_class()
    database = Database(folder / "state" / "strata.sqlite")
    roster = Roster(database)

    def entered(path: str, **form: str) -> str:
        answer = httpx.post(url + path, data=form, verify=False, timeout=60)
        return answer.cookies["strata_seat"]

    other = roster.create("Another class of files")
    ours = roster.create("A class of files")  # the newest: its gradebook is what the teacher sees
    ben = entered("/join", code=other.code, name="Ben")
    ann = entered("/join", code=ours.code, name="Ann")
    member = roster.members(ours.id)[0].id
    progress = Progress(database)
    progress.commit(member, "hidden_states", GUESS)
    progress.close()
    yield Hosted(url, entered("/teach", secret=SECRET), ann, ben)
    database.close()


def pressed(socket: Socket, button: str) -> BackendOperationResponse:
    """What is answered to a press of a button whose file is made then."""
    message = BackMsg()
    asked = message.backend_operation_request
    asked.request_id, asked.session_id = "1", socket.session
    asked.deferred_file.file_id = button
    socket.send(message)
    while True:
        for raw in socket.drained(0.5):
            answer = ForwardMsg.FromString(raw)
            if answer.HasField("backend_operation_response"):
                return answer.backend_operation_response


def buttons(socket: Socket) -> list[str]:
    """Those on the page, by which their files are made."""
    elements = [m.delta.new_element for m in socket.received if m.HasField("delta")]
    return [
        each.download_button.deferred_file_id
        for each in elements
        if each.HasField("download_button") and each.download_button.deferred_file_id
    ]


def test_a_gradebook_is_the_teachers(hosted: Hosted) -> None:
    with (
        Socket(hosted.url, hosted.teacher) as teacher,
        Socket(hosted.url, hosted.ann) as ann,
    ):
        teacher.run("class", "tab=Gradebook")
        ann.run("predictions")
        csv = buttons(teacher)[0]
        assert "no such file" in pressed(ann, csv).error_msg
        path = pressed(teacher, csv).deferred_file.url
        assert re.fullmatch(r"/media/[0-9a-f]+\.csv", path)
        for cookie in (hosted.ann, hosted.ben, "forged"):
            for form in (path, path.removesuffix(".csv"), path.replace(".csv", ".x"), path + "/"):
                answer = hosted.get(form, cookie)
                assert "Ann" not in answer.text
                assert answer.status_code in (303, 404)
        assert hosted.get(path, hosted.ann, "HEAD").status_code == 404
        mine = hosted.get(path, hosted.teacher)
        assert mine.status_code == 200
        assert "Ann" in mine.text


def test_a_file_is_sent_to_ones_own_page_only(hosted: Hosted) -> None:
    with Socket(hosted.url, hosted.ann) as ann:
        ann.run("predictions")
        path = f"/_stcore/upload_file/{ann.session}/1"
        for method in ("PUT", "DELETE"):
            assert hosted.get(path, hosted.ben, method).status_code in (404, 429)
            # To her own page she may, but for Streamlit's token, which a program lacks.
            assert hosted.get(path, hosted.ann, method).status_code == 403


def test_what_is_drawn_on_a_page_is_its_seats(monkeypatch: pytest.MonkeyPatch) -> None:
    storage, seat = MemoryMediaFileStorage("/media"), "one"

    def kept(content: bytes) -> str:
        run = SimpleNamespace(user_info={"seat": seat})
        monkeypatch.setattr(files, "get_script_run_ctx", lambda suppress_warning: run)
        return files.keep_and_note(storage, content, "text/csv", MediaFileKind.MEDIA)

    file = kept(b"mine")
    assert files.given.has("one", file)
    assert not files.given.has("two", file)
    seat = "two"
    assert kept(b"mine") == file  # the same content has the same address
    assert files.given.has("two", file)
    seat = ""  # a laptop: nobody has a seat
    assert not files.given.has("", kept(b"other"))
