"""The teacher's secret, from the environment."""

from __future__ import annotations

import os

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from strata.classroom.codes import SHORTEST_SECRET, hashed
from strata.errors import StrataError


class ClassSettings(BaseSettings):
    """`STRATA_TEACHER_SECRET` or, of it, `STRATA_TEACHER_HASH`, which `python -m strata class
    secret` prints."""

    model_config = SettingsConfigDict(env_prefix="STRATA_", frozen=True)

    teacher_secret: SecretStr = SecretStr("")
    teacher_hash: str = ""


def teacher_hash() -> str:
    """The hash of the teacher's secret. StrataError with what to do if there is no good one.

    The secret itself is taken out of the environment, so that no child process inherits it.
    """
    settings = ClassSettings()
    os.environ.pop("STRATA_TEACHER_SECRET", None)
    if settings.teacher_hash:
        salt, _, digest = settings.teacher_hash.partition("$")
        if len(salt) == 32 and len(digest) == 128 and set(salt + digest) <= set("0123456789abcdef"):
            return settings.teacher_hash
        raise StrataError("STRATA_TEACHER_HASH is not what `python -m strata class secret` prints.")
    secret = settings.teacher_secret.get_secret_value()
    if len(secret) < SHORTEST_SECRET:
        raise StrataError(
            "A class needs a teacher: set STRATA_TEACHER_SECRET to a secret of at least "
            f"{SHORTEST_SECRET} characters, or STRATA_TEACHER_HASH to its hash."
        )
    return hashed(secret)
