"""What an operator may choose about the engine, from the environment (`STRATA_...`) or in code."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from strata.corpus.passages import LONGEST_TEXT
from strata.engine.job import sentence
from strata.errors import InputError

MB = 1024 * 1024


class Settings(BaseSettings):
    """Each field can be set by the environment: `STRATA_QUEUE_SIZE=128`. Raises InputError."""

    model_config = SettingsConfigDict(env_prefix="STRATA_", frozen=True, extra="forbid")

    backend: Literal["local"] = Field("local", description="where models live: this process")
    any_model: bool = Field(
        False, description="also serve hub ids and paths that the catalogue does not list"
    )
    model_process: bool = Field(
        False,
        description="run a model beside this process (on Linux, on the CPU): pages go on meanwhile",
    )
    queue_size: int = Field(64, ge=1, description="jobs that may wait for one model")
    per_learner: int = Field(4, ge=1, description="jobs that one learner may have in flight")
    prompt_characters: int = Field(20_000, ge=1, description="longest prompt, in characters")
    prompt_tokens: int | None = Field(
        None, ge=1, description="longest prompt, in tokens, where a model would take more"
    )
    burst: int = Field(120, ge=1, description="jobs of one learner computed at once, after a rest")
    per_minute: int = Field(120, ge=1, description="jobs of one learner computed a minute")
    token_passes: int = Field(
        120_000, ge=1, description="tokens through a model of one learner of a class, after a rest"
    )
    token_passes_per_minute: int = Field(
        30_000, ge=1, description="tokens through a model of one learner of a class, a minute"
    )
    prompts: int = Field(64, ge=1, description="most prompts in one job")
    set_prompts: int = Field(200, ge=1, description="most prompts of a set in one job")
    sample_characters: int = Field(
        LONGEST_TEXT, ge=1, description="longest text to sample states from, in characters"
    )
    batch_size: int = Field(8, ge=1, description="waiting prompts that are run together")
    batch_tokens: int = Field(
        1_024, ge=1, description="most tokens, padding included, that are run together"
    )
    trace_cache_bytes: int = Field(512 * MB, ge=0, description="memory for traces, in bytes")
    sample_cache_bytes: int = Field(
        1_024 * MB, ge=0, description="memory for states sampled from texts, in bytes"
    )
    result_cache_bytes: int = Field(48 * MB, ge=0, description="memory for tables, in bytes")
    summaries: bool = Field(
        False, description="keep what was summarised of shipped and listed texts for the next start"
    )
    read_ahead: bool = Field(
        True, description="read texts that a page will compare with while a model is not asked"
    )
    retry_seconds: float = Field(
        30.0, ge=0, description="how long a failed load is remembered before it is tried again"
    )

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InputError(sentence(error, "Settings", "field")) from None
