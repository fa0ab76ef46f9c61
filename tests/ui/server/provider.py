"""A small OpenID Connect provider on this machine, which can be told to do each thing wrong."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import parse_qs

import uvicorn
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.browser.server import free_port

CLIENT, CLIENT_SECRET = "strata", "between servers"


@cache
def key(number: int) -> RSAKey:
    """The provider's key, and another one of the same name: each takes a while to make."""
    return RSAKey.generate_key(2048, {"kid": "one"})


@dataclass
class Provider:
    """`claims` stand in the next ID token beside the right ones, or in their place."""

    url: str
    claims: dict[str, Any] = field(default_factory=dict)
    forged: bool = False  # signed by another key of the same name
    unsigned: bool = False
    algorithms: tuple[str, ...] = ("RS256", "HS256", "none")
    issuer: str = ""
    asked: list[str] = field(default_factory=list)  # the paths that were asked for
    _under_way: dict[str, dict[str, str]] = field(default_factory=dict)

    def forget(self) -> None:
        """Be as it was when it began."""
        vars(self).update(vars(Provider(self.url)))

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._metadata),
                Route("/keys", self._keys),
                Route("/authorize", self._authorize),
                Route("/token", self._token, methods=["POST"]),
            ]
        )

    async def _metadata(self, request: Request) -> Response:
        return JSONResponse(
            {
                "issuer": self.issuer or self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/keys",
                "id_token_signing_alg_values_supported": self.algorithms,
            }
        )

    async def _keys(self, request: Request) -> Response:
        return JSONResponse(KeySet([key(1)]).as_dict(private=False))

    async def _authorize(self, request: Request) -> Response:
        """Signs in whoever comes."""
        asked = dict(request.query_params)
        assert asked["client_id"] == CLIENT
        assert asked["code_challenge_method"] == "S256"
        code = f"code-{len(self._under_way)}"
        self._under_way[code] = asked
        return RedirectResponse(f"{asked['redirect_uri']}?code={code}&state={asked['state']}")

    async def _token(self, request: Request) -> Response:
        self.asked.append(request.url.path)
        form = {name: v[0] for name, v in parse_qs((await request.body()).decode()).items()}
        asked = self._under_way.pop(form["code"], None)
        basic = base64.b64encode(f"{CLIENT}:{CLIENT_SECRET}".encode()).decode()
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        verified = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if (
            asked is None
            or request.headers["authorization"] != f"Basic {basic}"
            or verified != asked["code_challenge"]
            or form["redirect_uri"] != asked["redirect_uri"]
        ):
            return JSONResponse({"error": "invalid_grant"}, 400)
        right = {
            "iss": self.url,
            "sub": "1",
            "aud": CLIENT,
            "iat": int(time.time()),
            "exp": int(time.time()) + 300,
            "nonce": asked["nonce"],
            "email": "ann@school.example",
            "email_verified": True,
        }
        claims = {name: v for name, v in {**right, **self.claims}.items() if v is not None}
        return JSONResponse(
            {"access_token": "a", "token_type": "Bearer", "id_token": self._signed(claims)}
        )

    def _signed(self, claims: dict[str, Any]) -> str:
        header = {"alg": "RS256", "kid": "one"}
        token = jwt.encode(header, claims, key(2 if self.forged else 1))
        if self.unsigned:
            header = base64.urlsafe_b64encode(b'{"alg":"none","kid":"one"}').decode().rstrip("=")
            return f"{header}.{token.split('.')[1]}."
        return token


@contextmanager
def running() -> Iterator[Provider]:
    """A provider that answers on a free port."""
    port = free_port()
    provider = Provider(f"http://127.0.0.1:{port}")
    config = uvicorn.Config(provider.app(), "127.0.0.1", port, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 30
    while not server.started:
        assert time.monotonic() < until
        time.sleep(0.01)
    try:
        yield provider
    finally:
        server.should_exit = True
        thread.join(timeout=30)
