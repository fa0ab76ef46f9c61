"""What an operator chooses about classes, from the environment or the settings file."""

from __future__ import annotations

import os
import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from strata.classroom import class_table, settings_file
from strata.classroom.codes import SHORTEST_SECRET, hashed
from strata.errors import StrataError
from strata.storage.secret import secret

_SECRETS = ("teacher_secret", "oidc_client_secret")
_HOST = re.compile(r"\*|(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]")
_LOCAL_HOSTS = ("localhost", "127.0.0.1")  # a container's health check; no foreign page's name


def _listed(value: Any) -> Any:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]


class ClassSettings(BaseSettings):
    """Each field can be set by the environment, `STRATA_ALLOWED_HOSTS=a.example,b.example`, or in
    the settings file's `[class]`, `allowed_hosts = ["a.example"]`; the environment wins. Secrets
    come from the environment only, or from a file that `STRATA_..._FILE` names."""

    model_config = SettingsConfigDict(
        env_prefix="STRATA_", env_ignore_empty=True, frozen=True, extra="forbid"
    )

    teacher_secret: SecretStr = SecretStr("")
    teacher_hash: str = ""  # of that secret; what `python -m strata class secret` prints
    allowed_hosts: Names = ()  # names under which this server answers; none: under any
    oidc_issuer: str = ""
    oidc_client_id: str = ""
    oidc_client_secret: SecretStr = SecretStr("")
    oidc_teachers: Names = ()  # e-mail addresses

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        secrets = {name: secret(f"STRATA_{name.upper()}") for name in _SECRETS}
        table = class_table() or {}
        for name in _SECRETS:
            if name in table:
                raise StrataError(
                    f"Keep {name} out of {settings_file()}: put it in STRATA_{name.upper()}, or in "
                    f"a file of its own that STRATA_{name.upper()}_FILE names."
                )
        return (
            init_settings,
            InitSettingsSource(cls, {name: value for name, value in secrets.items() if value}),
            env_settings,
            InitSettingsSource(cls, table),
        )

    @property
    def has_oidc(self) -> bool:
        """Whether teachers may enter by an account elsewhere."""
        return bool(self.oidc_issuer)

    @property
    def hosts(self) -> list[str]:
        """The names under which this server answers, those for the machine itself included."""
        return [*self.allowed_hosts, *_LOCAL_HOSTS] if self.allowed_hosts else ["*"]


def class_settings() -> ClassSettings:
    """The settings, found good, with a hash in place of the teacher's secret.

    StrataError with what to do if they are not. Secrets are taken out of the environment, so that
    no child process inherits them.
    """
    try:
        settings = ClassSettings()
    except ValidationError as error:
        raise StrataError(_sentence(error)) from None
    for name in _SECRETS:
        os.environ.pop(f"STRATA_{name.upper()}", None)
    _check_hosts(settings)
    _check_oidc(settings)
    return settings.model_copy(
        update={"teacher_hash": _teacher_hash(settings), "teacher_secret": SecretStr("")}
    )


def _teacher_hash(settings: ClassSettings) -> str:
    """The hash of the teacher's secret; '' if teachers enter by accounts only."""
    if settings.teacher_hash:
        salt, _, digest = settings.teacher_hash.partition("$")
        if len(salt) == 32 and len(digest) == 128 and set(salt + digest) <= set("0123456789abcdef"):
            return settings.teacher_hash
        raise StrataError("STRATA_TEACHER_HASH is not what `python -m strata class secret` prints.")
    typed = settings.teacher_secret.get_secret_value()
    if not typed and settings.has_oidc:
        return ""
    if len(typed) < SHORTEST_SECRET:
        raise StrataError(
            "A class needs a teacher: set STRATA_TEACHER_SECRET to a secret of at least "
            f"{SHORTEST_SECRET} characters, or STRATA_TEACHER_HASH to its hash."
        )
    return hashed(typed)


def _check_hosts(settings: ClassSettings) -> None:
    for host in settings.allowed_hosts:
        if not _HOST.fullmatch(host.lower()):
            raise StrataError(
                f"STRATA_ALLOWED_HOSTS holds names like strata.school.example, not {host!r}."
            )


def _check_oidc(settings: ClassSettings) -> None:
    chosen = {
        "STRATA_OIDC_ISSUER": settings.oidc_issuer,
        "STRATA_OIDC_CLIENT_ID": settings.oidc_client_id,
        "STRATA_OIDC_CLIENT_SECRET": settings.oidc_client_secret.get_secret_value(),
        "STRATA_OIDC_TEACHERS": settings.oidc_teachers,
    }
    missing = [name for name, value in chosen.items() if not value]
    if len(missing) == len(chosen):
        return
    if missing:
        raise StrataError(f"Teachers' accounts need {' and '.join(missing)} too.")
    issuer = urlsplit(settings.oidc_issuer)
    if issuer.scheme != "https" and issuer.hostname not in _LOCAL_HOSTS:
        raise StrataError(f"STRATA_OIDC_ISSUER begins with https://, not {settings.oidc_issuer!r}.")
    for email in settings.oidc_teachers:
        if not re.fullmatch(r"[^@\s]+@[^@\s*]+", email):
            raise StrataError(f"STRATA_OIDC_TEACHERS holds e-mail addresses, not {email!r}.")


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    name = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        known = [each for each in ClassSettings.model_fields if each not in _SECRETS]
        return f"[class] in {settings_file()} has no {name!r}; it may have {', '.join(known)}."
    return f"The setting {name} (STRATA_{name.upper()}) is wrong: {first['msg']}."
