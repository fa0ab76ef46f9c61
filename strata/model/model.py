"""A language model that can be looked into: capture a run, edit it, differentiate it, go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import GenerationConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils import logging as transformers_logging

from strata.errors import InputError, ModelError
from strata.model import limits
from strata.model.agreements import Agreements, allowed, measure
from strata.model.architecture import Architecture, locate
from strata.model.check import refused_lens, refused_writes, switched_off, verified
from strata.model.generation import drawn, end_ids, generated
from strata.model.gradients import gradients
from strata.model.hooks import Recorder
from strata.model.operations import Operation, residual_of
from strata.model.replay import replay, whole_runs
from strata.model.resolved import Resolver
from strata.model.tokenizer import Ids, Tokenizer
from strata.model.twin import random_twin as _random_twin
from strata.trace import Edit, ModelCheck, Part, Trace
from strata.weights.catalogue import ModelCard

Progress = Callable[[float, str], None]

transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()


class Model:
    """One causal language model with L blocks, width D and V tokens in its vocabulary.

    Threads may share it: hooks hear their own thread's run only, and `texts`, which threads should
    use instead of the bare `tokenizer`, has a lock.
    """

    def __init__(
        self,
        name: str,
        network: Any,
        tokenizer: Any,
        card: ModelCard,
        agreements: Agreements | None = None,
    ) -> None:
        """`agreements` as measured at an earlier start, None to measure them now. ModelError for a
        model that is not causal."""
        self.name = name
        self.card = card
        self.tokenizer = tokenizer
        self._network = network.eval().requires_grad_(False)
        self.config = network.config.get_text_config(decoder=True)
        network.config.return_dict = self.config.return_dict = True  # a folder may ask for tuples
        self._positions = limits.position_limit(network, self.config)
        self.texts = Tokenizer(tokenizer, self.prompt_limit, self._n_rows())
        # Only the end tokens: what else a folder suggests (sampling, penalties) is not greedy.
        network.generation_config = GenerationConfig(
            eos_token_id=network.generation_config.eos_token_id
        )
        self.agreements: Agreements | None = None
        self._resolved = Resolver(self)
        self.architecture, check = self._calibrate(locate(network))
        self.check = check.with_read_back(self.texts.probe())
        self.float_head = self.architecture.in_float32()
        self.lens_refusal = refused_lens(self.family, self.check)
        self.write_refusal = refused_writes(self.architecture, self.check.write_error)
        self.agreements = agreements or measure(self)
        self.check = self._with_agreements(self.check)
        self.switched_off = switched_off(self.architecture, self.check)
        if not self.check.causal_ok:
            raise ModelError(self.switched_off["causal"])

    def __reduce__(self) -> tuple[Any, ...]:
        """As it was made: unpickled, it measures its identities again."""
        return Model, (self.name, self._network, self.tokenizer, self.card, self.agreements)

    # -- what it is ---------------------------------------------------------------------------

    @property
    def family(self) -> str:
        """The family's name, transformers' `config.model_type`."""
        return self.architecture.family

    @property
    def n_layers(self) -> int:
        """L: blocks. There are L + 1 layers of states."""
        return len(self.architecture.blocks)

    @property
    def d_model(self) -> int:
        """D: the width of the residual stream; of a stream of several rows, of all together."""
        return self._width

    @property
    def d_head(self) -> int:
        """The width of what the head reads, after the final norm: D, but for a few families."""
        return int(self._network.get_output_embeddings().weight.shape[1])

    @property
    def d_vocab(self) -> int:
        """V: how many logits the head gives."""
        return int(self._network.get_output_embeddings().weight.shape[0])

    @property
    def device(self) -> torch.device:
        return self._network.device

    @property
    def dtype(self) -> torch.dtype:
        return self._network.dtype

    @property
    def parameters(self) -> tuple[torch.nn.Parameter, ...]:
        """The weights, each once."""
        return tuple(self._network.parameters())

    @property
    def n_bytes(self) -> int:
        """Memory held by the parameters, in bytes."""
        return sum(p.numel() * p.element_size() for p in self.parameters)

    @property
    def prompt_limit(self) -> int:
        """The longest prompt, in tokens: the catalogue's limit or the model's, if that is less."""
        own = self._positions or limits.DEFAULT_LIMIT
        return min(own, self.card.prompt_limit or own)

    @property
    def reader(self) -> str:
        """The class of transformers by which a script loads the whole model."""
        alone = self.family in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
        return "AutoModelForCausalLM" if alone else "AutoModelForImageTextToText"

    @property
    def blocks_path(self) -> str:
        """Where the list of blocks is, as a path from the transformers model."""
        return self.architecture.blocks_path

    @cached_property
    def output_keys(self) -> tuple[str, ...]:
        """The keys of what the transformers model returns when it is asked for its hidden states.

        Not by asking: that would leave hooks of transformers' own on the shared blocks.
        """
        ids = torch.zeros(1, 1, dtype=torch.int64, device=self.device)
        with torch.inference_mode():
            return (*self._network(input_ids=ids).keys(), "hidden_states")

    def config_dict(self) -> dict[str, Any]:
        """The model's configuration, that of its text model, as plain data."""
        return dict(self.config.to_dict())

    # -- text ---------------------------------------------------------------------------------

    def encode(self, text: str) -> Tensor:
        """(T,) token ids of a prompt; InputError if it is empty, not text, or too long."""
        return self.texts.encode(text)

    def decode(self, token_ids: Ids, after: Ids = ()) -> tuple[str, ...]:
        """The text that each token id would add after a prompt's ids, or to any running text,
        unescaped: see `Tokenizer.decode`. The tokens of a prompt itself are `Trace.tokens`."""
        return self.texts.decode(token_ids, after)

    # -- runs ---------------------------------------------------------------------------------

    def capture(self, text: str, edits: Sequence[Edit] = ()) -> Trace:
        """Run the model once on a prompt, with edits, and write down all its states."""
        token_ids = self.encode(text)
        operations = self._resolved(edits, token_ids, len(token_ids))
        return self._capture([text], [token_ids], operations)[0]

    def capture_many(self, texts: Sequence[str], *, states_only: bool = False) -> list[Trace]:
        """Capture several prompts in right-padded batches, which is exact for causal models.

        States agree with `capture` to rounding: within 1e-5 of each state's largest entry in most
        families, 1e-4 in all. Where a model does not (`check.batch_ok`), and where its rotation
        depends on the longest prompt of a batch, prompts are not put together.

        `states_only`: the same states in less time. Only the first trace of a batch, `texts[0]`
        among them, has logits and may be asked for its check.
        """
        rows = [self.encode(text) for text in texts]
        found: dict[int, Trace] = {}
        for group in limits.together(rows, self.config, self.check.batch_ok):
            some = [texts[i] for i in group], [rows[i] for i in group]
            found |= dict(zip(group, self._capture(*some, (), states_only), strict=True))
        return [found[i] for i in range(len(rows))]

    def capture_row(self, token_ids: Tensor) -> Trace:
        """The same of (T,) token ids, whatever text they may be of."""
        return self._capture([""], [token_ids], ())[0]

    def unembed(self, hidden: Tensor) -> Tensor:
        """(..., D) states -> (..., V) float32 logits, by the model's own final norm and head."""
        if self.lens_refusal:
            raise ModelError(self.lens_refusal)
        return self._through(self.float_head.unembed, hidden.float())

    def normed(self, hidden: Tensor) -> Tensor:
        """(..., D) states -> (..., D), after the final norm, in float32."""
        return self._through(self.float_head.normed, hidden.float())

    def gradients(self, text: str) -> Tensor:
        """(L + 1, T, D): d(mean next-token cross-entropy in nats) / d hidden[l].

        The last position predicts nothing that is scored, so its gradient is exactly zero.
        A prompt of one token has no loss: InputError. No parameter receives a gradient.
        """
        token_ids = self.encode(text)
        if len(token_ids) < 2:
            raise InputError("A gradient needs a prompt of at least two tokens.")
        return gradients(self._network, self.architecture, token_ids[None].to(self.device))

    random_twin = _random_twin

    def generate(
        self,
        text: str,
        n_tokens: int,
        edits: Sequence[Edit] = (),
        progress: Progress | None = None,
        *,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> str:
        """The continuation of a prompt, at most `n_tokens` long, without the prompt.

        Greedy at `temperature` 0; above, each token is drawn from softmax(logits / temperature),
        the same ones for the same `seed`. Stops at the end token; special tokens are left out, a
        space before the first word is kept. `positions` of an edit are absolute and may lie in the
        continuation. `progress` is called at each token and may raise.
        """
        token_ids = self.encode(text)
        n_tokens = limits.at_least_one(n_tokens)
        longest = len(token_ids) + n_tokens
        operations = self._resolved(edits, token_ids, longest)
        chosen: dict[str, Any] = {"drawn": drawn(temperature, seed), "progress": progress}
        recorder = Recorder(self.architecture, operations, record=False)
        written = self.continued(token_ids, n_tokens, recorder, **chosen)
        return self.texts.continuation(written, after=token_ids)

    def continued(
        self, token_ids: Tensor, n_tokens: int, recorder: Recorder, **chosen: Any
    ) -> Tensor:
        """(n,) ids of the continuation of (T,), the end token too: see `generate`."""
        limits.require_positions(len(token_ids), n_tokens, self._positions, self.config)
        if not self.check.cache_ok:
            raise ModelError(self.switched_off["cache"])
        chosen["eos_token_id"] = sorted(end_ids(self._network, self.tokenizer)) or None
        output: Tensor = self.go_on(token_ids, n_tokens, recorder, **chosen)
        return output[0, len(token_ids) :].cpu()

    def go_on(self, token_ids: Tensor, n_tokens: int, recorder: Recorder, **settings: Any) -> Any:
        """What `strata.model.generation.generated` gives, while `recorder` hears each step."""
        settings.setdefault("pad_token_id", self.tokenizer.pad_token_id or 0)
        ids = token_ids[None].to(self.device)  # (1, T)
        with torch.inference_mode(), recorder:
            return generated(self._network, self.config, ids, n_tokens, settings)

    def replay(
        self,
        trace: Trace,
        edits: Sequence[Edit],
        progress: Progress | None = None,
        *,
        whole: bool | None = None,
    ) -> Iterator[tuple[list[int], Tensor]]:
        """Many edited runs of a clean trace's prompt, one edit each: see `strata.model.replay`.

        `whole`: each by a run of all blocks; None where the model needs it (`check.replay_ok`).
        """
        made = self._resolved(edits, trace.token_ids, len(trace.token_ids))
        if not self.check.replay_ok if whole is None else whole:
            return whole_runs(self.forward, self.architecture, trace, made, progress)
        return replay(self._network, self.architecture, trace, made, progress)

    def forget_sources(self) -> None:
        """Let go of what is kept of the runs and samples that edits named, for want of memory."""
        self._resolved.forget()

    def require_part(self, part: Part) -> None:
        """ModelError unless the model has this part, and its writes can be told."""
        if part != "stream" and self.write_refusal:
            raise ModelError(self.write_refusal)
        if part == "mlp" and self.architecture.is_mixer:
            raise ModelError(self.switched_off["mixer"])

    def forward(
        self, rows: Sequence[Tensor], recorder: Recorder
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Right-padded run of token rows: hidden (L+1, B, T, D), writes (2, L, B, T, D), logits."""
        ids = pad_sequence(list(rows), batch_first=True)  # (B, T)
        mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
        ragged = not bool(mask.all())
        with torch.inference_mode(), recorder:
            logits = self._network(
                input_ids=ids.to(self.device),
                attention_mask=mask.to(self.device) if ragged else None,
                use_cache=False,
            ).logits  # (B, T, V)
        return recorder.hidden, recorder.writes, logits

    def _capture(
        self,
        texts: Sequence[str],
        rows: Sequence[Tensor],
        operations: Sequence[Operation],
        states_only: bool = False,
    ) -> list[Trace]:
        limits.require_room(self, rows, states_only)
        recorder = Recorder(self.architecture, operations, states_only=states_only)
        hidden, writes, logits = self.forward(rows, recorder)
        with torch.inference_mode(False):
            hidden = hidden.float().cpu()
            logits = torch.from_dlpack(logits.cpu())  # without a copy, and fit for autograd again
            writes = None if self.write_refusal or writes is None else writes.float().cpu()
            shares = self.architecture.residual if writes is not None else ()
            residual = residual_of(shares, operations)
            return [
                Trace(
                    text=text,
                    tokens=self.texts.tokens(row),
                    token_ids=row,
                    hidden=_row(hidden, i, len(row)),
                    writes=None if writes is None else _row(writes, i, len(row)),
                    logits=_row(logits, i, len(row)) if i < len(logits) else logits[0, :0].clone(),
                    edits=tuple(operation.edit for operation in operations),
                    refusal=self.write_refusal,
                    residual=residual,
                    verify=self.verify if i < len(logits) else None,
                )
                for i, (text, row) in enumerate(zip(texts, rows, strict=True))
            ]

    def _calibrate(self, architecture: Architecture) -> tuple[Architecture, ModelCheck]:
        """Fit the family's constant factors on one run, then measure lens and writes on another."""
        self.architecture = architecture
        generator = torch.Generator().manual_seed(0)
        length = min(16, self.prompt_limit)
        first, second = torch.randint(self.d_vocab, (2, length), generator=generator)
        recorder = Recorder(architecture, apart=True)
        hidden, _, logits = self.forward([first], recorder)
        self._width = hidden.shape[-1]
        outputs = {
            part: [[each[0] for each in block] for block in blocks]
            for part, blocks in recorder.outputs.items()
        }
        with torch.inference_mode():
            self.architecture = architecture.calibrated(hidden[:, 0], outputs, logits[0])
        self.float_head, self.write_refusal = self.architecture, ""
        return self.architecture, self._identities([self.capture_row(second)])[0]

    def _with_agreements(self, check: ModelCheck) -> ModelCheck:
        """A check with what was measured of the model once."""
        found = self.agreements
        return replace(check, **asdict(found), agreement=allowed(self.dtype)) if found else check

    def checks(self, traces: Sequence[Trace]) -> list[ModelCheck]:
        """The identities on each trace; the head runs in its own dtype, as the model ran it."""
        return [
            check.with_read_back(self.texts.read_back(trace.text, trace.token_ids))
            for check, trace in zip(self._identities(traces), traces, strict=True)
        ]

    def verify(self, trace: Trace) -> ModelCheck:
        """`Trace.check` of a trace that this model left."""
        return self.checks([trace])[0]

    def _identities(self, traces: Sequence[Trace]) -> list[ModelCheck]:
        """Lens and writes, without the text."""

        def unembed(last: Tensor) -> Tensor:
            return self._through(self.architecture.unembed, last.to(self.dtype))

        return list(map(self._with_agreements, verified(self.architecture, traces, unembed)))

    def _n_rows(self) -> int:
        """How many token ids the model can read and predict."""
        embedding = self._network.get_input_embeddings().weight
        return min(len(embedding), self.d_vocab)

    def _through(self, function: Callable[[Tensor], Tensor], hidden: Tensor) -> Tensor:
        with torch.inference_mode():
            result = function(hidden.to(self.device))
        with torch.inference_mode(False):
            return result.to("cpu", copy=True)


def _row(batch: Tensor, i: int, length: int) -> Tensor:
    """Row i of (..., B, T, D) without its padding, in memory of its own."""
    return batch[..., i, :length, :].contiguous()
