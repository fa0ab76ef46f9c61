"""The bound on a session's files is met by nobody who takes one file after another."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import FilePayload, Page, expect

from strata.ui.server.uploads import MOST_FILES
from tests.browser.server import serve

SEND = """async number => {
  const url = window.sent.replace(/[^/]+$/, "forged" + number);
  const token = document.cookie.split("; ").find(c => c.startsWith("_streamlit_xsrf"));
  const body = new FormData();
  body.append("file", new Blob(["x"]), "x.txt");
  const headers = token ? {"X-Xsrftoken": token.split("=").slice(1).join("=")} : {};
  return (await fetch(url, {method: "PUT", body, headers})).status;
}"""


def test_a_file_can_be_changed_as_often_as_one_likes_but_not_heaped_up(page: Page) -> None:
    sent: list[str] = []
    page.on("request", lambda r: sent.append(r.url) if r.method == "PUT" else None)
    with serve(Path(__file__).parent / "uploading.py", wait_until_ready=False) as address:
        page.goto(address)
        expect(page.get_by_text("No file yet")).to_be_visible()
        for number in range(MOST_FILES + 2):
            file = FilePayload(name=f"{number}.txt", mimeType="text/plain", buffer=b"words")
            page.locator('input[type="file"]').set_input_files(file)
            expect(page.get_by_text(f"Got {number}.txt")).to_be_visible()
        page.evaluate("url => window.sent = url", sent[-1])
        answers = [page.evaluate(SEND, number) for number in range(MOST_FILES + 2)]
    assert set(answers[: MOST_FILES - 1]) == {204}
    assert answers[-2:] == [429, 429]
