"""What a proxy and a watchman hear of a server."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from strata.ui.server import start
from strata.ui.server.readiness import Readiness


@pytest.mark.parametrize(
    ("ready", "durable", "code", "kept_code"),
    [(False, True, 503, 503), (True, True, 200, 200), (True, False, 200, 503)],
)
def test_what_would_be_lost_is_an_error_to_who_asks_for_it(
    ready: bool, durable: bool, code: int, kept_code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = Readiness(ready, "why", lambda: (durable, 3))
    monkeypatch.setattr(start, "readiness", said)
    client = TestClient(Starlette(routes=[start.routes[0]]))
    answer = client.get("/readyz")
    told = answer.json()
    assert told.pop("learners") > 10
    assert told == {"ready": ready, "reason": "why", "kept": durable, "waiting": 3}
    assert answer.status_code == code
    assert client.get("/readyz?kept").status_code == kept_code
