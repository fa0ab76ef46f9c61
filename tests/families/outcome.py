"""What Strata makes of one tiny model, against plain transformers with hooks of its own."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from strata.errors import StrataError
from strata.model import Model
from strata.model.hooks import Recorder
from strata.trace import Scale
from strata.weights.catalogue import ModelCard
from tests import tiny
from tests.families import build

PATIENCE = 60  # seconds for one type
EDITED = 1  # the block whose stream is turned round
FACTOR = -0.7


@dataclass(frozen=True)
class Outcome:
    """`kind`: "writes" (served with writes), "lens" (served without), "refused", "not built"
    (here, or by transformers from any such configuration), "wrong"."""

    family: str
    kind: str
    said: str = ""
    lens: str = ""
    writes: str = ""

    @property
    def line(self) -> str:
        numbers = f" lens {self.lens}, writes {self.writes or 'none'}" if self.lens else ""
        return f"{self.kind:9}{numbers} {self.said}"


def outcome(family: str, wrapped: bool) -> Outcome:
    """The outcome of a type; nothing that goes wrong ends it."""
    try:
        with _patience():
            network = (build.wrapper if wrapped else build.build)(family)
            ids = torch.tensor([tiny.tokenizer()(tiny.PROMPT).input_ids])
            with torch.no_grad():
                logits = network(input_ids=ids).logits
            assert logits.shape[:2] == ids.shape
            assert logits.isfinite().all()
    except (Exception, TimeoutError) as error:
        return Outcome(family, *_unbuilt(family, error))
    try:
        with _patience():
            return _served(family, network)
    except StrataError as error:
        return Outcome(family, "refused", str(error))
    except (Exception, TimeoutError) as error:
        return Outcome(family, "wrong", f"{type(error).__name__}: {error}".splitlines()[0])


def load(network: Any) -> Model:
    """Strata's model of a network that is in memory, with the test tokenizer."""
    card = ModelCard(id="tiny", source="folder", path=".", licence="none")
    return Model("tiny", network, tiny.tokenizer(), card)


def _unbuilt(family: str, error: BaseException) -> tuple[str, str]:
    """A type that cannot be built here is refused by its name all the same, where it is known."""
    from strata.model.families import REFUSED, row_of

    if family in REFUSED:
        try:
            row_of(family)
        except StrataError as refusal:
            return "refused", str(refusal)
    return "not built", type(error).__name__


def _served(family: str, network: Any) -> Outcome:
    model = load(network)
    check = model.check
    trace = model.capture(tiny.PROMPT)
    ids = trace.token_ids
    wrong = []
    plain, edited = _plain(network, model.blocks_path, ids)
    if not torch.equal(trace.logits, plain):
        wrong.append("logits of a capture")
    if check.lens_ok and _apart(model.unembed(trace.hidden[-1]), plain) > 1e-4:
        wrong.append("lens")
    turned = Scale(EDITED, FACTOR)
    if _apart(model.capture(tiny.PROMPT, [turned]).logits, edited) > 1e-5:
        wrong.append("edit")
    [(_, [state])] = list(model.replay(trace, [turned]))
    if check.lens_ok and _apart(model.unembed(state), edited[-1]) > 1e-4:
        wrong.append("replay")
    for text, beside in zip(
        ("A dog", tiny.PROMPT), model.capture_many(["A dog", tiny.PROMPT]), strict=True
    ):
        if _apart(beside.logits, model.capture(text).logits) > 1e-4:
            wrong.append("batch")
    if model.gradients(tiny.PROMPT).shape != trace.hidden.shape:
        wrong.append("gradients")
    if check.cache_ok:
        told = {"output_logits": True, "return_dict_in_generate": True, "min_new_tokens": 2}
        output = model.go_on(ids, 2, Recorder(model.architecture, record=False), **told)
        if _apart(output.logits[0][0], plain[-1]) > 1e-4:
            wrong.append("continuation")
    if wrong:
        return Outcome(family, "wrong", ", ".join(wrong))
    if not check.lens_ok:
        return Outcome(family, "refused", check.reason)
    said = " ".join([*filter(None, [check.reason]), *model.switched_off.values()])
    kind = "writes" if check.write_ok else "lens"
    writes = "" if math.isnan(check.write_error) else f"{check.write_error:.0e}"
    return Outcome(family, kind, said, f"{check.lens_error:.0e}", writes)


@torch.no_grad()
def _plain(network: Any, blocks: str, ids: Tensor) -> tuple[Tensor, Tensor]:
    """(T, V) logits without an edit, and with the stream after a block turned round."""
    clean = network(input_ids=ids[None], use_cache=False).logits[0]

    def turn(module: Any, args: Any, output: Any) -> Any:
        if isinstance(output, (tuple, list)):
            return type(output)([output[0] * FACTOR, *output[1:]])
        return output * FACTOR

    handle = network.get_submodule(blocks)[EDITED].register_forward_hook(turn)
    try:
        return clean, network(input_ids=ids[None], use_cache=False).logits[0]
    finally:
        handle.remove()


def _apart(ours: Tensor, theirs: Tensor) -> float:
    return float((ours.float() - theirs.float()).abs().max() / theirs.float().abs().max())


@contextmanager
def _patience() -> Iterator[None]:
    def over(*given: Any) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
