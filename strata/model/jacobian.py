"""The Jacobian lens: what a state is disposed to say, by how the last states answer to it.

J_l is the mean over texts of d h_final / d h_l, summed over target positions and averaged over
source positions; a state h is read as `unembed(J_l h)`. With J_l = identity that is the logit lens.

Source: "Verbalizable Representations Form a Global Workspace in Language Models", Anthropic 2026.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from strata.errors import InputError, ModelError, NotEnoughMemory
from strata.model.device import free_bytes
from strata.model.fingerprint import Fingerprint, fingerprint
from strata.model.pullback import pulled_back, require_length

if TYPE_CHECKING:
    from strata.model.model import Model

Progress = Callable[[float, str], None]

SKIP, MAX_TOKENS = 16, 128
ESTIMATOR = (
    "mean over texts of the mean over source positions of the sum over target positions of "
    "d h_L[i] / d h_l[j], all cotangents, positions from `skip` to the last but one"
)
_FORMAT = "strata jacobian lens 1"
_UNREADABLE = (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError)
# For each number of J while it is fitted: two sums in float64 and, as their mean is taken, two more
# of that size, with the mean, the one before and a text's own in float32.
_MOST_BYTES = 2 * 8 + 2 * 8 + 3 * 4
_KEPT_BYTES = 2 * 8 + 4  # of each in the file of what was summed so far, which is written beside it


@dataclass(frozen=True, eq=False)
class Lens:
    """A fitted Jacobian lens of one model: `matrices` (L + 1, D, D) float32, layer L the identity.

    `matrices[l] @ h` is a state of layer l as the last layer's. `texts` are SHA-256 of the texts,
    as far as they were read; `n_positions` how many source positions they had together. `changes`:
    after n texts, by how much of its own norm each layer's matrix had changed since the number
    before in it, half as many or, at the end, more (L numbers; layer L has none). `halves`: the
    cosine of the fit on every other text to that on the rest, by layer; () of a single text, and
    where fits on unequally many texts were merged.
    """

    matrices: Tensor
    model: str
    weights: str
    tokenizer: str
    skip: int
    max_tokens: int
    texts: tuple[str, ...]
    n_positions: int
    changes: dict[int, tuple[float, ...]] = field(default_factory=dict)
    halves: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not bool(self.matrices.isfinite().all()):
            raise InputError("A Jacobian lens is made of finite numbers, and this one has others.")

    @property
    def n_texts(self) -> int:
        """How many texts it was fitted on."""
        return len(self.texts)

    def transported(self, hidden: Tensor) -> Tensor:
        """(L + 1, T, D) states -> the same as states of the last layer, `matrices[l] @ h`."""
        return hidden @ self.matrices.transpose(1, 2)

    def require(self, model: Model) -> None:
        """ModelError unless it was fitted to this very model."""
        n_layers, width = len(self.matrices) - 1, self.matrices.shape[-1]
        if (n_layers, width) != (model.n_layers, model.d_model):
            what = (
                f"to a model of {n_layers} blocks and width {width}, and {model.name} has "
                f"{model.n_layers} and {model.d_model}"
            )
        elif self.weights != fingerprint(model).weights:
            what = f"to other weights than those of {model.name}{in_their_numbers(model)}"
        elif self.tokenizer != fingerprint(model).tokenizer:
            what = f"with another tokenizer than that of {model.name}"
        else:
            return
        raise ModelError(
            f"This Jacobian lens was fitted {what}; “python -m strata fit-lens” makes one for "
            "this model, and the beam of a word needs none."
        )

    def merged(self, other: Lens) -> Lens:
        """The fit on the texts of both; InputError unless both are of the same model and estimator,
        and have no text in common. As exact as the matrices of both: float32 as `fit` gives them,
        and float16 as they are read from files. A fit that is to go on keeps its sums in float64
        (`keep` of `fit`)."""
        if not isinstance(other, Lens):
            raise InputError(f"A fit is merged with another one, not with {other!r:.40}.")
        same = ("weights", "tokenizer", "skip", "max_tokens")
        if any(getattr(self, name) != getattr(other, name) for name in same):
            raise InputError("Only fits of the same model and the same positions can be merged.")
        if set(self.texts) & set(other.texts):
            raise InputError("These two fits share a text, which would count twice.")
        n = self.n_texts + other.n_texts
        total = self.matrices.double() * self.n_texts + other.matrices.double() * other.n_texts
        mean, alike = total / n, self.n_texts == other.n_texts
        return replace(
            self,
            matrices=mean.float(),
            texts=self.texts + other.texts,
            n_positions=self.n_positions + other.n_positions,
            changes=self.changes | {n: _change(mean[:-1], self.matrices[:-1].double())},
            halves=_cosines(self.matrices[:-1], other.matrices[:-1]) if alike else (),
        )

    def save(self, path: str | Path) -> None:
        """Write one safetensors file: float16, without layer L, all else in its metadata.
        InputError where it cannot be written."""
        stored = self.matrices[:-1].half()
        if not bool(stored.isfinite().all()):
            raise ModelError("This lens has numbers too large for its file, which is in float16.")
        known = {name: getattr(self, name) for name in self.__dataclass_fields__}
        del known["matrices"]
        about = {"format": _FORMAT, "estimator": ESTIMATOR, "about": json.dumps(known)}
        try:
            partial = Path(path).with_name(Path(path).name + ".partial")
            save_file({"jacobian": stored.contiguous()}, partial, metadata=about)
            os.replace(partial, path)
        except (SafetensorError, OSError, TypeError, ValueError) as error:
            raise InputError(f"The lens cannot be written to {str(path)!r:.100}.") from error

    @classmethod
    def load(cls, path: str | Path) -> Lens:
        """Read what `save` wrote. InputError for a file that is missing or is another thing."""
        if not isinstance(path, str | os.PathLike) or not Path(path).is_file():
            raise InputError(f"There is no file {str(path)!r}.")
        try:
            with safe_open(path, framework="pt") as file:
                known = _about(file)
                stored = file.get_tensor("jacobian").float()  # (L, D, D)
            known["texts"], known["halves"] = tuple(known["texts"]), tuple(known["halves"])
            known["changes"] = {int(n): tuple(each) for n, each in known["changes"].items()}
            last = torch.eye(stored.shape[-1])[None]
            return cls(matrices=torch.cat([stored, last]), **known)
        except _UNREADABLE:
            raise InputError(
                f"{Path(path).name} is not a Jacobian lens that this Strata wrote; fit one by "
                "“python -m strata fit-lens”."
            ) from None

    @staticmethod
    def of(path: Path) -> Fingerprint | None:
        """Which model the lens in a file was fitted to, its matrices unread; None where it holds
        none."""
        try:
            with safe_open(path, framework="pt") as file:
                known = _about(file)
            return Fingerprint(known["weights"], known["tokenizer"])
        except _UNREADABLE:
            return None


def in_their_numbers(model: Model) -> str:
    """What is to be said of a model for which there is no lens, as there may be one for the same
    weights in float32: in which numbers it is; "" where that is float32."""
    if model.dtype == torch.float32:
        return ""
    name = str(model.dtype).removeprefix("torch.")
    return f" in {name} (its weights in float32 are others)"


def _about(file: Any) -> dict[str, Any]:
    """What an open file says of its lens."""
    told = file.metadata() or {}
    if told.get("format") != _FORMAT:
        raise ValueError
    known: dict[str, Any] = json.loads(told["about"])
    return known


def fit(
    model: Model,
    texts: Sequence[str],
    skip: int = SKIP,
    max_tokens: int = MAX_TOKENS,
    progress: Progress | None = None,
    keep: Path | None = None,
) -> Lens:
    """The Jacobian lens of a model: `matrices[l, i, j]` is the mean over texts, which count alike,
    of the mean over source positions s of the sum over target positions t of
    d h_L[t, i] / d h_l[s, j].

    h_L is the last state before the final norm. Of a text at most `max_tokens` tokens are read. Its
    positions from `skip` to the last but one are sources and targets alike: the first tokens are
    sinks, and the last one predicts what the text does not hold. A position is a target of its own
    (without blocks J would be the identity), and later ones do not reach back. `keep`: a file for
    what was summed so far; a fit that is broken off goes on from there, on these texts or more.
    InputError for no text, for one too short, and where `keep` holds sums of other texts;
    NotEnoughMemory where the sums do not fit.
    """
    for name, number, least in (("skip", skip, 0), ("max_tokens", max_tokens, 1)):
        if isinstance(number, bool) or not isinstance(number, int) or number < least:
            raise InputError(f"“{name}” is a whole number, {least} or more, not {number!r}.")
    rows = [model.encode(text)[:max_tokens] for text in several(texts)]
    for row in rows:
        require_length(row, skip)
    require_room(model, keep)
    sums = Sums.begun(model, skip, max_tokens, keep)
    done = Counter(sums.texts)
    if done - Counter(map(text_name, rows)):
        raise InputError(
            f"{keep} holds the beginning of a fit on texts that are not among these; give them "
            "all, or remove the file to begin anew."
        )
    everything = torch.eye(model.d_model)
    for i, row in enumerate(rows):
        name = text_name(row)
        if done[name]:
            done[name] -= 1
            continue
        began, told = i / len(rows), f"Text {i + 1} of {len(rows)}"

        def note(share: float, began: float = began, told: str = told) -> None:
            if progress is not None:
                progress(began + share / len(rows), told)

        note(0.0)
        [found] = pulled_back(model, [row], everything, skip, note)
        sums.add(found[:-1], name, len(row) - 1 - skip)
        if keep is not None:
            sums.write(keep)
    return sums.lens(model)


def require_room(model: Model, keep: Path | None = None) -> None:
    """NotEnoughMemory where a fit would not fit in what is free, InputError where its sums would
    not fit on the disk of `keep`."""
    numbers = model.n_layers * model.d_model**2
    needed, free = _MOST_BYTES * numbers, free_bytes(torch.device("cpu"))
    if needed > free:
        raise NotEnoughMemory(
            f"A Jacobian lens of {model.name} takes {needed / 1e9:,.1f} GB of memory while it is "
            f"fitted and {free / 1e9:,.1f} GB are free; the beam of a word needs no lens."
        )
    if keep is None:
        return
    needed, free = 2 * _KEPT_BYTES * numbers, shutil.disk_usage(keep.parent).free
    if needed > free:
        raise InputError(
            f"What is summed up for a Jacobian lens of {model.name} takes {needed / 1e9:,.1f} GB "
            f"in {keep.parent} and {free / 1e9:,.1f} GB are free there; make room, or name another "
            "folder by STRATA_HOME."
        )


def several(texts: Sequence[str]) -> list[str]:
    """The texts as a list; InputError unless there is one at least."""
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise InputError(f"Give texts in a list, also a single one, not {texts!r:.40}.")
    if not (listed := list(texts)):
        raise InputError("Give at least one text.")
    return listed


@dataclass
class Sums:
    """Per-text Jacobians of a fit added up, every other text apart: (2, L, D, D) in float64."""

    total: Tensor
    skip: int
    max_tokens: int
    fitted: tuple[str, ...]  # weights and tokenizer
    texts: list[str] = field(default_factory=list)
    n_positions: int = 0
    changes: dict[int, tuple[float, ...]] = field(default_factory=dict)
    half: Tensor | None = None  # (L, D, D): the mean after the largest power of two of texts

    @classmethod
    def begun(cls, model: Model, skip: int, max_tokens: int, keep: Path | None) -> Sums:
        """Nothing yet, or what `keep` holds. InputError where that is of another fit."""
        known = tuple(fingerprint(model))
        if keep is None or not keep.is_file():
            shape = 2, model.n_layers, model.d_model, model.d_model
            return cls(torch.zeros(shape, dtype=torch.float64), skip, max_tokens, known)
        try:
            found = cls(**torch.load(keep, weights_only=True))
        except (OSError, RuntimeError, EOFError, TypeError, pickle.UnpicklingError):
            raise InputError(f"{keep} holds no beginning of a fit; remove it.") from None
        if (found.skip, found.max_tokens, found.fitted) != (skip, max_tokens, known):
            raise InputError(f"{keep} holds the beginning of another fit; remove it to begin anew.")
        return found

    def add(self, jacobians: Tensor, text: str, n_positions: int) -> None:
        """One text's (L, D, D)."""
        self.total[len(self.texts) % 2] += jacobians
        self.texts.append(text)
        self.n_positions += n_positions
        n = len(self.texts)
        if n & (n - 1) == 0:
            mean = self.mean.float()
            if self.half is not None:
                self.changes[n] = _change(mean, self.half)
            self.half = mean

    @property
    def mean(self) -> Tensor:
        """(L, D, D) float64."""
        return self.total.sum(dim=0) / len(self.texts)

    def lens(self, model: Model) -> Lens:
        """The lens that these sums make."""
        n, changes = len(self.texts), dict(self.changes)
        mean = self.mean
        if self.half is not None and n not in changes and n > 1:
            changes[n] = _change(mean, self.half)
        weights, tokenizer = self.fitted
        return Lens(
            matrices=torch.cat([mean.float(), torch.eye(mean.shape[-1])[None]]),
            model=model.name,
            weights=weights,
            tokenizer=tokenizer,
            skip=self.skip,
            max_tokens=self.max_tokens,
            texts=tuple(self.texts),
            n_positions=self.n_positions,
            changes=changes,
            halves=_cosines(*self.total) if n > 1 else (),
        )

    def write(self, path: Path) -> None:
        """Whole or not at all."""
        partial = path.with_name(path.name + ".partial")
        try:
            torch.save(vars(self), partial)
            os.replace(partial, path)
        except (OSError, RuntimeError) as error:
            raise InputError(f"What was summed so far cannot be written to {path}.") from error


def text_name(row: Tensor) -> str:
    """By which a lens knows a text that it was fitted on, of its token ids."""
    return hashlib.sha256(repr(row.tolist()).encode()).hexdigest()[:16]


def _change(now: Tensor, before: Tensor) -> tuple[float, ...]:
    """(L, D, D) twice -> how far each layer moved, as a share of its norm now."""
    return tuple(
        float((a.double() - b.double()).norm() / a.double().norm().clamp_min(1e-300))
        for a, b in zip(now, before, strict=True)
    )


def _cosines(one: Tensor, other: Tensor) -> tuple[float, ...]:
    """The cosine of each layer's two matrices, flattened."""
    pairs = zip(one.double().flatten(1), other.double().flatten(1), strict=True)
    return tuple(float(torch.cosine_similarity(a, b, dim=0)) for a, b in pairs)
