"""Teachers who sign in by an account elsewhere (OpenID Connect) instead of the secret.

`st.login` cannot do this: it needs a page, and no page can be had past the door without a seat. Of
the account nothing is kept; whoever is on the list gets the teacher's seat.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from typing import Any

import httpx2
from authlib.integrations.starlette_client import OAuth, OAuthError
from joserfc.errors import JoseError
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from strata.classroom.settings import ClassSettings
from strata.errors import StrataError
from strata.ui.server import door, seats

BEGIN, BACK = "/teach/oidc", "/teach/oidc/callback"
_SECONDS = 600  # from leaving for the provider to coming back
_BY_KEY_PAIR = ("RS", "PS", "ES", "Ed")  # signatures that nobody makes who only can check them

_log = logging.getLogger("strata")


class Accounts:
    """The provider of accounts, and whose account is a teacher's."""

    def __init__(self, settings: ClassSettings) -> None:
        self._issuer = settings.oidc_issuer.rstrip("/")
        self._id = settings.oidc_client_id
        self._secret = settings.oidc_client_secret.get_secret_value()
        self._teachers = {email.casefold() for email in settings.oidc_teachers}
        # Once: for each request anew it would read all certificates, and all learners wait for it.
        trusted = httpx2.create_ssl_context()
        self._provider = OAuth().register(
            "provider",
            client_id=self._id,
            client_secret=self._secret,
            server_metadata_url=f"{self._issuer}/.well-known/openid-configuration",
            client_kwargs={
                "scope": "openid email",
                "code_challenge_method": "S256",
                "verify": trusted,
            },
        )

    def routes(self) -> list[Route]:
        """Where a sign-in begins and where it comes back. State, nonce and verifier wait in a
        signed cookie; every process of a server can read it, since all know the client's secret."""
        key = hmac.digest(self._secret.encode(), b"strata: a sign-in under way", hashlib.sha256)
        cookie = Middleware(
            SessionMiddleware,
            secret_key=key.hex(),
            session_cookie="strata_sign_in",
            max_age=_SECONDS,
            path=BEGIN,
            same_site="lax",
        )
        return [
            Route(BEGIN, self._begin, methods=["GET"], middleware=[cookie]),
            Route(BACK, self._back, methods=["GET"], middleware=[cookie]),
        ]

    async def _begin(self, request: Request) -> Response:
        back = request.url_for("_back").replace(scheme=seats.scheme(request))
        try:
            await self._metadata()
            answer: Response = await self._provider.authorize_redirect(request, back)
        except StrataError as error:
            return door.teachers_page(str(error))
        answer.headers["cache-control"] = "no-store"
        return answer

    async def _back(self, request: Request) -> Response:
        try:
            self._admit(await self._claims(request))
        except StrataError as error:
            request.session.clear()
            return door.teachers_page(str(error))
        return await door.let_teacher_in(request)

    async def _metadata(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = await self._provider.load_server_metadata()
        except (httpx2.HTTPError, ValueError) as error:
            raise _failed("The sign-in service does not answer; try again later.", error) from None
        algorithms = found.get("id_token_signing_alg_values_supported") or ["RS256"]
        safe = [name for name in algorithms if name.startswith(_BY_KEY_PAIR)]
        found["id_token_signing_alg_values_supported"] = safe
        if str(found.get("issuer", "")).rstrip("/") != self._issuer:
            raise StrataError("The sign-in service calls itself by another name than was set.")
        return found

    async def _claims(self, request: Request) -> dict[str, Any]:
        """What the provider says, for this server and about this sign-in, of who signed in."""
        metadata = await self._metadata()
        options = {
            "iss": {"essential": True, "value": metadata["issuer"]},
            "aud": {"essential": True, "value": self._id},
        }
        try:
            token = await self._provider.authorize_access_token(request, claims_options=options)
        except OAuthError as error:
            if error.error == "mismatching_state":
                why = "This sign-in was not begun here, or took too long; begin again."
            else:
                why = "The sign-in service did not let you in; begin again."
            raise _failed(why, error) from None
        except httpx2.HTTPError as error:
            raise _failed("The sign-in service does not answer; try again later.", error) from None
        except (JoseError, ValueError, KeyError, TypeError) as error:
            why = "What the sign-in service sent cannot be trusted; tell who runs this server."
            raise _failed(why, error) from None
        return dict(token.get("userinfo") or {})  # only a checked ID token gives one

    def _admit(self, claims: dict[str, Any]) -> None:
        """StrataError with the reason unless these are a teacher's."""
        if claims.get("email_verified") is not True:
            raise StrataError("The sign-in service has not verified this account's e-mail address.")
        if str(claims.get("email", "")).casefold() not in self._teachers:
            raise StrataError("This account is not on this server's list of teachers.")


def _failed(why: str, error: Exception) -> StrataError:
    """The sentence for whoever signs in; the log gets the kind of error, and nothing personal."""
    _log.warning("A teacher's sign-in failed: %s", type(error).__name__)
    return StrataError(why)
