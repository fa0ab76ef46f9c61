"""A language model that can be looked into: capture a run, edit it, differentiate it, go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    GenerationConfig,
    StoppingCriteria,
)
from transformers.utils import logging as transformers_logging

from strata.errors import InputError, ModelError
from strata.model.architecture import Architecture, locate, refused_lens, refused_writes, verified
from strata.model.gradients import gradients
from strata.model.hooks import Recorder, check_edits
from strata.model.replay import replay
from strata.model.tokenizer import Ids, Tokenizer, check_room
from strata.trace import ModelCheck, Scale, Trace
from strata.weights.catalogue import ModelCard

Progress = Callable[[float, str], None]

_DEFAULT_LIMIT = 2048  # tokens, for models without a position limit of their own
transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()


class Model:
    """One causal language model with L blocks, width D and V tokens in its vocabulary.

    Threads may share it: hooks hear their own thread's run only, and `texts`, which threads should
    use instead of the bare `tokenizer`, has a lock.
    """

    def __init__(self, name: str, network: Any, tokenizer: Any, card: ModelCard) -> None:
        self.name = name
        self.card = card
        self.tokenizer = tokenizer
        self._network = network.eval().requires_grad_(False)
        self.texts = Tokenizer(tokenizer, self.prompt_limit, self._n_rows())
        # Only the end tokens: what else a folder suggests (sampling, penalties) is not greedy.
        network.generation_config = GenerationConfig(
            eos_token_id=network.generation_config.eos_token_id
        )
        self.architecture, check = self._calibrate(locate(network))
        self.check = check.with_read_back(self.texts.probe())
        self.float_head = self.architecture.in_float32()
        self.lens_refusal = refused_lens(self.family, self.check.lens_error)
        self.write_refusal = refused_writes(self.family, self.check.write_error)

    def __reduce__(self) -> tuple[Any, ...]:
        """As it was made: unpickled, it measures itself again."""
        return Model, (self.name, self._network, self.tokenizer, self.card)

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
        """D: the width of the residual stream."""
        return int(self._network.config.hidden_size)

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
        own = getattr(self._network.config, "max_position_embeddings", None) or _DEFAULT_LIMIT
        return min(own, self.card.prompt_limit or own)

    @property
    def blocks_path(self) -> str:
        """Where the list of blocks is, as a path from the transformers model."""
        return self.architecture.row.blocks

    @cached_property
    def output_keys(self) -> tuple[str, ...]:
        """The keys of what the transformers model returns when it is asked for its hidden states.

        Not by asking: that would leave hooks of transformers' own on the shared blocks.
        """
        ids = torch.zeros(1, 1, dtype=torch.int64, device=self.device)
        with torch.inference_mode():
            return (*self._network(input_ids=ids).keys(), "hidden_states")

    def config_dict(self) -> dict[str, Any]:
        """The model's configuration as plain data."""
        return self._network.config.to_dict()

    # -- text ---------------------------------------------------------------------------------

    def encode(self, text: str) -> Tensor:
        """(T,) token ids of a prompt; InputError if it is empty, not text, or too long."""
        return self.texts.encode(text)

    def decode(self, token_ids: Ids, after: Ids = ()) -> tuple[str, ...]:
        """The text that each token id would add after a prompt's ids, or to any running text,
        unescaped: see `Tokenizer.decode`. The tokens of a prompt itself are `Trace.tokens`."""
        return self.texts.decode(token_ids, after)

    # -- runs ---------------------------------------------------------------------------------

    def capture(self, text: str, edits: Sequence[Scale] = ()) -> Trace:
        """Run the model once on a prompt, with edits, and write down all its states."""
        token_ids = self.encode(text)
        edits = self._checked(edits, len(token_ids))
        return self._capture([text], [token_ids], edits)[0]

    def capture_many(self, texts: Sequence[str]) -> list[Trace]:
        """Capture several prompts in one right-padded batch, which is exact for causal models.

        States agree with `capture` to rounding: within 1e-5 of each state's largest entry.
        """
        return self._capture(texts, [self.encode(text) for text in texts], ()) if texts else []

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

    def generate(
        self,
        text: str,
        n_tokens: int,
        edits: Sequence[Scale] = (),
        progress: Progress | None = None,
    ) -> str:
        """The greedy continuation of a prompt, at most `n_tokens` long, without the prompt.

        Stops at the end token; special tokens are left out, a space before the first word is kept.
        `positions` of an edit are absolute
        and may lie in the continuation. `progress` is called at each token and may raise.
        """
        token_ids = self.encode(text)
        longest = len(token_ids) + n_tokens
        edits = self._checked(edits, longest)
        if n_tokens < 1:
            raise InputError("Ask for at least one token.")
        check_room(len(token_ids), n_tokens, self._network.config)
        ids = token_ids[None].to(self.device)  # (1, T)
        settings = GenerationConfig(
            do_sample=False,
            max_new_tokens=n_tokens,
            use_cache=True,
            eos_token_id=sorted(self._end_ids()) or None,
            pad_token_id=self.tokenizer.pad_token_id or 0,
        )
        stopping = [_Report(progress, len(token_ids), n_tokens)] if progress else None
        with torch.inference_mode(), Recorder(self.architecture, edits, record=False):
            output = self._network.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                generation_config=settings,
                stopping_criteria=stopping,
            )
        return self.texts.continuation(output[0, len(token_ids) :], after=token_ids)

    def replay(
        self, trace: Trace, edits: Sequence[Scale], progress: Progress | None = None
    ) -> Iterator[tuple[list[int], Tensor]]:
        """Many edited runs of a clean trace's prompt, one edit each: see `strata.model.replay`."""
        edits = self._checked(edits, len(trace.tokens))
        return replay(self._network, self.architecture, trace, edits, progress)

    def _checked(self, edits: Sequence[Scale], n_tokens: int) -> tuple[Scale, ...]:
        edits = check_edits(edits, self.n_layers, n_tokens)
        if self.write_refusal and any(edit.part != "stream" for edit in edits):
            raise ModelError(self.write_refusal)
        return edits

    def _forward(
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
        self, texts: Sequence[str], rows: Sequence[Tensor], edits: tuple[Scale, ...]
    ) -> list[Trace]:
        hidden, writes, logits = self._forward(rows, Recorder(self.architecture, edits))
        with torch.inference_mode(False):
            hidden = hidden.float().cpu()
            logits = torch.from_dlpack(logits.cpu())  # without a copy, and fit for autograd again
            writes = None if self.write_refusal or writes is None else writes.float().cpu()
            if writes is not None and (scale := self.architecture.write_scale) != 1.0:
                writes *= scale
            return [
                Trace(
                    text=text,
                    tokens=self.texts.tokens(row),
                    token_ids=row,
                    hidden=_row(hidden, i, len(row)),
                    writes=None if writes is None else _row(writes, i, len(row)),
                    logits=_row(logits, i, len(row)),
                    edits=edits,
                    refusal=self.write_refusal,
                    verify=self.verify,
                )
                for i, (text, row) in enumerate(zip(texts, rows, strict=True))
            ]

    def _calibrate(self, architecture: Architecture) -> tuple[Architecture, ModelCheck]:
        """Fit the family's constant factors on one run, then measure lens and writes on another."""
        self.architecture = architecture
        generator = torch.Generator().manual_seed(0)
        length = min(16, self.prompt_limit)
        first, second = torch.randint(self.d_vocab, (2, length), generator=generator)
        hidden, writes, logits = self._forward([first], Recorder(architecture))
        with torch.inference_mode():
            self.architecture = architecture.calibrated(
                hidden[:, 0], None if writes is None else writes[:, :, 0], logits[0]
            )
        self.float_head, self.write_refusal = self.architecture, ""
        return self.architecture, self._identities(self._capture([""], [second], ()))[0]

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

        return verified(self.family, traces, unembed)

    def _n_rows(self) -> int:
        """How many token ids the model can read and predict."""
        embedding = self._network.get_input_embeddings().weight
        return min(len(embedding), self.d_vocab)

    def _through(self, function: Callable[[Tensor], Tensor], hidden: Tensor) -> Tensor:
        with torch.inference_mode():
            result = function(hidden.to(self.device))
        with torch.inference_mode(False):
            return result.to("cpu", copy=True)

    def _end_ids(self) -> set[int]:
        configured = self._network.generation_config.eos_token_id
        listed = configured if isinstance(configured, list) else [configured]
        return {i for i in (*listed, self.tokenizer.eos_token_id) if i is not None}


class _Report(StoppingCriteria):
    """Tells how far a generation is; the callable may raise to end it."""

    def __init__(self, progress: Progress, start: int, n_tokens: int) -> None:
        self.progress, self.start, self.n_tokens = progress, start, n_tokens

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        done = input_ids.shape[1] - self.start
        self.progress(done / self.n_tokens, f"token {done} of {self.n_tokens}")
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


def _row(batch: Tensor, i: int, length: int) -> Tensor:
    """Row i of (..., B, T, D) without its padding, in memory of its own."""
    return batch[..., i, :length, :].contiguous()
