"""What pages say of a run, sentence by sentence, and the rules of grammar that hold for all.

A concept's sentences stand in `tests/concepts/<stem>/said.py`, those that several share in
`tests/concepts/said_by_all.py`: a function `said(run)` that gives each with its claims, the numbers
and tokens that must stand in it, computed there from the run itself and not by the concept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from strata.concepts.run import tokens
from strata.model import Model
from strata.trace import Trace

LONG = 60  # tokens: of longer prompts not everything is said twice
SHORT = 10  # tokens: of longer ones pairs and continuations are not told, which cost a run each
LONGEST = 700  # characters of all that is said of one figure
LONGEST_SENTENCE = 330
_THINGS = "tokens layers pairs cells positions parts dimensions times runs states panels columns"
_RULES = {  # what no sentence may hold, quoted tokens left out
    "two spaces": r"\s\s",
    "a space before a sign": r"\s[,;:.!?](\s|$)",
    "one of many": rf"(?<![\d.,] )(?<![\d.,])\b1 ({_THINGS.replace(' ', '|')})\b",
    "one do": r"(?<![\w.,])1 (of [\d,]+ )?[a-z]+ (say|are|have|do|show|come|lead)\b",
    "no number": r"\b(nan|NaN|inf|None|<NA>)\b",
    "a power as computers write it": r"\d[eE][+-]?\d",
    "a number of many digits": r"\.\d{7,}",
    "a minus of a keyboard": r"(?<![\w“])-\d",
    "an empty place": r"“”\s*“”|\(\)|\{|\}",
    "a sign twice": r"[,;:]{2}|(?<!\.)\.\.(?!\.)",
}


@dataclass(frozen=True)
class Said:
    """What a function of `words` says, and what must stand in it."""

    name: str
    sentence: str
    claims: tuple[str, ...]


class Run:
    """One prompt read by a model, as the sentences' own arithmetic wants it."""

    def __init__(self, model: Model, text: str) -> None:
        self.model, self.text = model, text
        self.trace: Trace = model.capture(text)
        self.tokens = tokens(model, self.trace)
        self.shown: list[str] = self.tokens["shown"].tolist()
        self.last = len(self.shown) - 1

    @cached_property
    def hidden(self) -> NDArray[np.float64]:
        """(L + 1, T, D)."""
        return self.trace.hidden.double().numpy()

    @cached_property
    def norms(self) -> NDArray[np.float64]:
        """(L + 1, T)."""
        return np.linalg.norm(self.hidden, axis=-1)

    @cached_property
    def norms_of_deltas(self) -> NDArray[np.float64]:
        """(L, T): of what each block added."""
        return np.linalg.norm(np.diff(self.hidden, axis=0), axis=-1)

    @cached_property
    def logprobs(self) -> NDArray[np.float64]:
        """(T, V): the model's own."""
        return self.trace.logits.double().log_softmax(dim=-1).numpy()

    @cached_property
    def gradients(self) -> Tensor:
        return self.model.gradients(self.text)

    def named(self, frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(shown=[self.shown[p] for p in frame["position"]])


Sayer = Callable[[Run], Iterator[Said]]


def sayers() -> dict[str, Sayer]:
    """`said` of each concept that has one, by stem; under "" of what they share."""
    found = sorted(Path(__file__).parent.glob("*/said.py"))
    names = {path.parent.name: f"tests.concepts.{path.parent.name}.said" for path in found}
    names[""] = "tests.concepts.said_by_all"
    return {stem: import_module(name).said for stem, name in names.items()}


def faults(sentence: str) -> list[str]:
    """Which rules a sentence breaks."""
    of_a_text = r"^(After|As you type, after) “.*?”(, the model|: “)"
    plain = re.sub(of_a_text, r"\1 “x”\2", sentence)
    plain = re.sub(r"“\S{1,40}?”(?![^\s,.;:)])", "“x”", plain)
    plain = re.sub(r"“\d+ \S{1,40}?”(?=[ ,])", "“x”", plain)  # a token with its position
    broken = [name for name, rule in _RULES.items() if re.search(rule, plain)]
    if not re.match(r"[A-Z0-9“]", plain):
        broken.append("its beginning")
    if not plain.endswith("."):
        broken.append("its end")
    parts = re.split(r"(?<=[.?!]) (?=[A-Z0-9“])", plain)
    if len(plain) > LONGEST or max(map(len, parts)) > LONGEST_SENTENCE:
        broken.append("its length")
    return broken


def two(value: float, digits: int = 2) -> str:
    """With so many digits, as sentences have it."""
    text = f"{value:.{digits}f}"
    return (text[1:] if float(text) == 0 and text[0] == "-" else text).replace("-", "−")


def near(sentence: str, value: float, digits: int) -> str:
    """As `two`; of a number that is computed in two ways what stands in the sentence, if it is the
    same but for one in the last digit."""
    for found in re.findall(r"−?\d[\d,]*(?:\.\d+)?", sentence):
        if abs(float(found.replace(",", "").replace("−", "-")) - value) < 1.5 * 10.0**-digits:
            return str(found)
    return two(value, digits)


def three(value: float) -> str:
    """Three digits, or all of those before the point."""
    if abs(value) >= 100:
        return f"{value:,.0f}".replace("-", "−")
    return np.format_float_positional(float(f"{value:.3g}"), trim="-").replace("-", "−")


def chance(prob: float) -> str:
    """A probability."""
    if prob < 0.005:
        return f"{100 * prob:.2f}%" if prob >= 0.00005 else "less than 0.01%"
    return f"{100 * prob:.0f}%" if prob < 0.995 else "more than 99%"
