"""What one learner may ask for, checked on each job."""

from __future__ import annotations

from dataclasses import dataclass, fields

from strata.engine.settings import Settings
from strata.errors import InputError


@dataclass(frozen=True)
class Limits:
    """The limits of one learner; None: as far as the server's settings go, and never further.

    `models`: the only ones that answer. `prompt_characters` and `prompt_tokens`: of the longest
    prompt. `in_flight`: jobs that wait or run at a time. `burst` jobs may be computed at once, then
    `per_minute`; answers that are known, or being computed for others, do not count.
    `party`: who takes turns with whom, from the outside in: a class, who of it counts as one, the
    learner. Raises InputError.
    """

    models: frozenset[str] | None = None
    prompt_characters: int | None = None
    prompt_tokens: int | None = None
    in_flight: int | None = None
    burst: int | None = None
    per_minute: int | None = None
    party: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field in fields(self)[1:-1]:
            value = getattr(self, field.name)
            if value is not None and (type(value) is not int or value < 1):
                raise InputError(f"The limit {field.name!r} must be a number from 1, not {value}.")

    def within(self, settings: Settings) -> Limits:
        """The stricter of these limits and the server's, one by one."""
        return Limits(
            self.models,
            _stricter(self.prompt_characters, settings.prompt_characters),
            _stricter(self.prompt_tokens, settings.prompt_tokens),
            _stricter(self.in_flight, settings.per_learner),
            _stricter(self.burst, settings.burst),
            _stricter(self.per_minute, settings.per_minute),
            self.party,
        )

    def check_model(self, model: str) -> None:
        """InputError for a model that this learner's class does not work with."""
        if self.models is not None and model not in self.models:
            raise InputError(
                f"Your class works with {', '.join(sorted(self.models))} only, not with {model!r}."
            )

    def check_characters(self, n: int, noun: str = "prompt") -> None:
        """InputError for a prompt that is too long even to be cut into tokens, or a whole set."""
        if self.prompt_characters is not None and n > self.prompt_characters:
            raise InputError(
                f"The {noun} has {n:,} characters and the limit is {self.prompt_characters:,}; "
                "shorten it."
            )

    def check_tokens(self, n_tokens: int) -> None:
        """InputError for a prompt of more tokens than this learner may ask about."""
        if self.prompt_tokens is not None and n_tokens > self.prompt_tokens:
            raise InputError(
                f"The prompt has {n_tokens:,} tokens and the limit is {self.prompt_tokens:,}; "
                "shorten it."
            )


def _stricter(own: int | None, of_server: int | None) -> int | None:
    return min((limit for limit in (own, of_server) if limit is not None), default=None)
