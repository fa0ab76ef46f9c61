"""One open page: the model and prompt it is about, its tokens, and what it asks of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from typing import Any, TypeVar

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from strata.charts.subject import Subject
from strata.concepts import Concept, views
from strata.concepts.script import with_note, with_reader
from strata.corpus.passages import passages
from strata.engine import Job, Limits
from strata.trace import Edit
from strata.ui.anatomy import ask, made
from strata.ui.anatomy.expected import Coarser, about_how_long, expect, reading
from strata.ui.server.resources import engine, models
from strata.weights.catalogue import ModelCard
from strata.weights.sources import cached_folder

T = TypeVar("T")
SUBJECT = "subject"  # what the figures of this run of a page are of


@dataclass(frozen=True)
class Page:
    """One open page: its concept, and the model and prompt that the learner chose."""

    stem: str
    concept: Concept
    model: str
    prompt: str
    about: dict[str, Any]
    tokens: pd.DataFrame
    edits: tuple[Edit, ...] = field(
        default=(), kw_only=True
    )  # made to every run that this page asks for
    map_place: DeltaGenerator | None = field(default=None, kw_only=True, compare=False)

    @property
    def n_tokens(self) -> int:
        return len(self.tokens)

    @property
    def n_layers(self) -> int:
        return int(self.about["n_layers"])

    @property
    def subject(self) -> Subject:
        """What its figures are of."""
        return Subject((self.prompt,), str(self.about["title"]))

    def is_drawn(self) -> None:
        """From here on figures are of this page, unless they say of what else."""
        st.session_state[SUBJECT] = self.subject

    def most(self, count: int) -> str:
        """What a figure of so many likeliest tokens leaves out."""
        n_tokens: int = self.about["d_vocab"]
        some = only(count, n_tokens, "token")
        return f"the likeliest {some}" if some else ""

    def shown(self, position: int) -> str:
        """The token at a position in its text-safe form."""
        return self.all_shown[position]

    @cached_property
    def all_shown(self) -> list[str]:
        """All tokens in that form."""
        return list(map(str, self.tokens["shown"]))

    @property
    def findings(self) -> list[dict[str, Any]]:
        """The rows of `run.doctor`."""
        return self.made("doctor", lambda: self.ask("run.doctor").to_dict("records"))

    def text_up_to(self, position: int) -> str:
        """The prompt as far as a position, that token included."""
        return str(self.ask("run.text_up_to", position=position)["text"][0])

    def named(self, frame: pd.DataFrame) -> pd.DataFrame:
        """With shown, the token of each row in its text-safe form."""
        return frame.assign(shown=self.tokens["shown"].to_numpy()[frame["position"].to_numpy(int)])

    def labelled(self, frame: pd.DataFrame) -> pd.DataFrame:
        """With axis labels: the position, then the token, so that equal tokens stay apart."""
        positions = frame["position"]
        shown = self.tokens["shown"].to_numpy()[positions]
        return frame.assign(label=positions.astype(str) + " " + shown)

    @property
    def labels(self) -> list[str]:
        """Axis labels of all positions, see `labelled`."""
        return [f"{position} {shown}" for position, shown in enumerate(self.all_shown)]

    def up_to_width(self, *counts: int) -> list[int]:
        """Those of some counts of dimensions that this model has."""
        return [count for count in counts if count <= self.about["d_model"]]

    def up_to_vocabulary(self, *counts: int) -> list[int]:
        """Those of some counts of tokens that this model has, at least one."""
        n_tokens: int = self.about["d_vocab"]
        return [count for count in counts if count <= n_tokens] or [n_tokens]

    def script(self, **choices: Any) -> str:
        """The program with plain transformers that prints the numbers of this page."""
        card = models()[self.model]
        source = card.repository or _folder(self.model)
        program = self.concept.script(source, card.revision, self.prompt, **choices)
        program = with_reader(program, self.about["reader"])
        return program if card.repository else with_note(program, _whereabouts(card))

    def reads(self, code: str) -> dict[str, Any]:
        """What a program is told for such lines of a number, see `chance_script.number_of`."""
        parts = [part for part in ("attn", "mlp") if f'"{part}"' in code]
        if not parts and "lens(" not in code:
            return {}
        [known] = self.ask("logit_lens.modules").to_dict("records")
        found = {name: known[name] for name in ("norm", "logit_scale", "logit_cap")}
        scales = json.loads(known["scales"] or "{}")
        paths = {part: self.ask("scaling.places", part=part)["within"].tolist() for part in parts}
        return found | {
            "parts": {p: (paths[p], scales.get(p, known["write_scale"])) for p in parts}
        }

    def ask(
        self,
        view: str,
        prompts: tuple[str, ...] = (),
        *,
        meanwhile: Callable[[], object] | None = None,
        coarser: Coarser | None = None,
        sample: Mapping[str, Any] | None = None,
        **params: Any,
    ) -> pd.DataFrame:
        """A view's table for this model and prompt, or for other prompts where a view takes them.

        `sample`: which states of texts, for a view that compares with them; `meanwhile` draws what
        is there already, if there is a wait worth showing; `coarser` is offered instead where that
        will be long. A refusal, StrataError, ends the page.
        """
        job = partial(
            Job,
            view=view,
            model=self.model,
            prompt=self.prompt,
            prompts=prompts,
            params=params,
            edits=self.edits,
            sample=None if sample is None else dict(sample),
        )
        # `repr` tells 1 from True
        n_tokens = about_how_long(prompts) if prompts else self.n_tokens
        expected = expect(view, self.about, n_tokens, len(prompts), params, coarser)
        if sample is not None and view == "corpus.about":
            expected = reading(self.about, list(passages().values()), 0)
        now = views.followed(views.find_view(view))
        key = self._key(view, prompts, repr(params), repr(sample), now)
        return made.frame(key, lambda: ask.run(job(), meanwhile, expected))

    def made(self, name: str, make: Callable[[], T], *by: Hashable) -> T:
        """What `make` makes of this run and of `by`, which must say all that it depends on, made
        once for all learners. `name` tells such things of a page apart; nobody may change them."""
        return made.made(self._key(self.stem, name, *by), make)

    def _key(self, *what: Hashable) -> Hashable:
        return (self.model, self.prompt, self.edits, *what)

    def beside(self, *, model: str | None = None, prompt: str | None = None) -> Page:
        """The same page for another model or another prompt, to draw beside this one."""
        other = replace(self, model=model or self.model, prompt=prompt or self.prompt)
        other = replace(other, about=ask.until_ready(other.model))
        return replace(other, tokens=tokens_of(other.model, other.prompt, other.about))


def only(count: int, total: int, noun: str) -> str:
    """What a figure leaves out that draws so many of some things; "" where it draws all."""
    return f"{count:,} of {total:,} {noun}s" if count < total else ""


def subject() -> Subject:
    """What a figure is of that does not say so."""
    found: Subject = st.session_state.get(SUBJECT, Subject())
    return found


def tokens_of(model: str, prompt: str, about: Mapping[str, Any]) -> pd.DataFrame:
    """`run.tokens` of a prompt, with no edits. InputError if it is longer than this learner's may
    be, though another's has been answered."""
    job = partial(Job, view="run.tokens", model=model, prompt=prompt)
    engine().keep(model, prompt)
    tokens = made.frame((model, prompt, "run.tokens"), lambda: ask.run(job()))
    Limits(prompt_tokens=about["prompt_limit"]).check_tokens(len(tokens))
    return tokens


@lru_cache(maxsize=64)
def _folder(model: str) -> str:
    """Where a model that has answered keeps its weights."""
    return str(cached_folder(models()[model]))


def _whereabouts(card: ModelCard) -> str:
    """For a script: what to do about a model that is a folder of this machine."""
    if card.source != "bundled":
        return "A folder of the machine that made this; elsewhere, put in your own copy of it."
    return (
        "The bundled model, where the machine that made this keeps it. On another machine, run\n"
        f"`python -m strata fetch {card.id}` in a copy of Strata and put in what it prints."
    )
