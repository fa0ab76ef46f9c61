"""A teacher signs in by an account elsewhere; whatever is wrong gives one sentence and no seat."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import httpx2
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from strata.classroom.codes import hashed
from strata.classroom.roster import Roster
from strata.classroom.settings import ClassSettings
from strata.storage.database import Database
from strata.ui.server import door, oidc
from tests.ui.server.provider import CLIENT, CLIENT_SECRET, Provider, running


async def page(request: Request) -> PlainTextResponse:
    return PlainTextResponse("a page")


# One for all tests: to make one reads the system's certificates.
BROWSER = httpx.Client(verify=False)


@pytest.fixture(scope="module")
def one_provider() -> Iterator[Provider]:
    with running() as found:
        yield found


@pytest.fixture
def provider(one_provider: Provider) -> Provider:
    one_provider.forget()
    return one_provider


@pytest.fixture
def client(
    provider: Provider, database: Database, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TestClient]:
    settings = ClassSettings(
        oidc_issuer=provider.url,
        oidc_client_id=CLIENT,
        oidc_client_secret=CLIENT_SECRET,
        oidc_teachers=("Ann@School.example", "bob@school.example"),
    )
    reception = door.Reception(Roster(database), "", (oidc.BEGIN, oidc.BACK))
    monkeypatch.setattr(door, "reception", reception)
    routes = [*oidc.Accounts(settings).routes(), *door.routes, Route("/{path:path}", page)]
    app = Starlette(routes=routes, middleware=[Middleware(door.Door)])
    with TestClient(app, "http://strata.example", follow_redirects=False) as opened:
        yield opened


def away(client: TestClient) -> str:
    """Leave for the provider and sign in there; the address that leads back."""
    left = client.get(oidc.BEGIN)
    assert left.status_code == 302, left.text
    back = BROWSER.get(left.headers["location"]).headers["location"]
    assert back.startswith("http://strata.example/teach/oidc/callback?")
    return back


def refused(client: TestClient, answer: Any, sentence: str, why: object = "") -> None:
    assert answer.status_code == 403, why
    assert f"role=alert>{sentence}" in answer.text, why
    assert door.COOKIE not in client.cookies, why
    assert client.get("/class").status_code == 303, why


def test_a_teacher_on_the_list_gets_the_teachers_seat(
    client: TestClient, database: Database
) -> None:
    form = client.get("/teach").text
    assert f'href="{oidc.BEGIN}"' in form
    assert "password" not in form
    refused(client, client.post("/teach", data={"secret": ""}), "This is not the teacher")
    answer = client.get(away(client))
    assert (answer.status_code, answer.headers["location"]) == (303, "/class")
    assert client.get("/class").text == "a page"
    assert list(client.cookies) == [door.COOKIE]  # the sign-in's own is gone
    with database.session() as session:
        from strata.storage.tables import Base

        for table in Base.metadata.sorted_tables:
            assert "school.example" not in str(session.execute(table.select()).all())


def test_what_waits_for_the_way_back_is_kept_from_scripts_and_other_paths(
    client: TestClient,
) -> None:
    asked = client.get(oidc.BEGIN, headers={"X-Forwarded-Proto": "https"})
    cookie = asked.headers["set-cookie"]
    for part in ("path=/teach/oidc;", "Max-Age=600", "httponly", "samesite=lax"):
        assert part in cookie
    query = parse_qs(urlsplit(asked.headers["location"]).query)
    assert query["redirect_uri"] == ["https://strata.example/teach/oidc/callback"]
    assert query["scope"] == ["openid email"]
    assert {"state", "nonce", "code_challenge"} <= set(query)


NOT_ON, NOT_VERIFIED = "This account is not on", "The sign-in service has not verified"
NOT_TRUSTED = "What the sign-in service sent cannot be trusted"


def test_a_wrong_claim_gives_no_seat(client: TestClient, provider: Provider) -> None:
    for claims, sentence in (
        ({"email": "eve@school.example"}, NOT_ON),
        ({"email": None}, NOT_ON),
        ({"email": "ann@school.example.evil.example"}, NOT_ON),
        ({"email_verified": False}, NOT_VERIFIED),
        ({"email_verified": None}, NOT_VERIFIED),
        ({"email_verified": "true"}, NOT_VERIFIED),
        ({"nonce": "of another sign-in"}, NOT_TRUSTED),
        ({"nonce": None}, NOT_TRUSTED),
        ({"aud": "another client"}, NOT_TRUSTED),
        ({"aud": ["x", "y"], "azp": CLIENT}, NOT_TRUSTED),
        ({"iss": "https://evil.example"}, NOT_TRUSTED),
        ({"exp": 1}, NOT_TRUSTED),
    ):
        provider.claims = claims
        refused(client, client.get(away(client)), sentence, claims)
        client.cookies.clear()


@pytest.mark.parametrize("wrong", ["forged", "unsigned"])
def test_a_token_that_the_provider_did_not_sign_gives_no_seat(
    client: TestClient, provider: Provider, wrong: str
) -> None:
    setattr(provider, wrong, True)
    refused(client, client.get(away(client)), NOT_TRUSTED)


def test_only_who_began_can_end_a_sign_in_and_only_once(
    client: TestClient, provider: Provider
) -> None:
    back = away(client)
    not_begun = "This sign-in was not begun here"
    refused(client, client.get(f"{oidc.BACK}?code=code-0&state=guessed"), not_begun)
    client.cookies.clear()
    refused(client, client.get(back), not_begun)  # another browser, led here by a link
    refused(client, client.get(oidc.BACK), not_begun)
    client.cookies.set("strata_sign_in", "made.up.here", path=oidc.BEGIN)
    refused(client, client.get(back), not_begun)
    assert provider.asked == []  # no guess makes this server ask
    client.cookies.clear()
    back = away(client)
    assert client.get(back).status_code == 303
    client.cookies.delete(door.COOKIE)
    refused(client, client.get(back), not_begun)


def test_a_code_that_the_provider_does_not_know_gives_no_seat(client: TestClient) -> None:
    back = away(client).replace("code-0", "code-9")
    refused(client, client.get(back), "The sign-in service did not let you in")


def test_what_the_provider_refuses_is_not_shown_as_it_came(client: TestClient) -> None:
    address = f"{oidc.BACK}?error=access_denied&error_description=<script>alert(1)</script>"
    answer = client.get(address)
    refused(client, answer, "The sign-in service did not let you in")
    assert "<script>" not in answer.text


def test_a_provider_that_is_another_one_is_not_used(client: TestClient, provider: Provider) -> None:
    provider.issuer = "https://evil.example"
    refused(client, client.get(oidc.BEGIN), "The sign-in service calls itself by another name")


def test_a_provider_that_is_away_is_one_sentence_and_its_return_is_noticed(
    database: Database, monkeypatch: pytest.MonkeyPatch, client: TestClient
) -> None:
    away_now = httpx2.ConnectError("away")

    async def fail(*_: object, **__: object) -> None:
        raise away_now

    with monkeypatch.context() as patched:
        patched.setattr("httpx2.AsyncHTTPTransport.handle_async_request", fail)
        refused(client, client.get(oidc.BEGIN), "The sign-in service does not answer")
    back = away(client)
    with monkeypatch.context() as patched:
        patched.setattr("httpx2.AsyncHTTPTransport.handle_async_request", fail)
        refused(client, client.get(back), "The sign-in service does not answer")
    assert client.get(away(client)).status_code == 303


def test_where_no_accounts_are_set_nothing_of_them_is_there(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    without = door.Reception(Roster(database), hashed("correct horse"))
    monkeypatch.setattr(door, "reception", without)
    assert "Sign in" not in client.get("/teach").text
    plain = Starlette(
        routes=[*door.routes, Route("/{path:path}", page)], middleware=[Middleware(door.Door)]
    )
    other = TestClient(plain, follow_redirects=False)
    for path in (oidc.BEGIN, oidc.BACK):
        assert other.get(path).status_code == 303
