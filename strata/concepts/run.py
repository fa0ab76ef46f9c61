"""The run itself as tables: its tokens, whether its numbers can be trusted, what may mislead."""

from __future__ import annotations

import math
import operator
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strata.concepts import apart, costs, quick
from strata.concepts.target import named, target
from strata.display.tokens import display_bytes, display_candidate, display_token
from strata.errors import InputError
from strata.model.fingerprint import may_be_of
from strata.trace import WRITE_TOLERANCE, Edit, ModelCheck, Trace

if TYPE_CHECKING:
    from strata.model import Model

Finding = tuple[str, dict[str, Any]]  # code, and what its message names
LONGEST_CONTINUATION = 200  # tokens
UNSURE = 0.1  # a top-1 less probable than this is hardly an answer
# Nats a letter, see `foreseen`. On the bundled model the 70 passages take 0.84 on average, 1.06 at
# most; of prompts of 40 letters and more English, slang too, at most 1.6, code 1.1, French, Spanish
# and German 1.8 to 2.0, while Finnish, Polish, Russian, Chinese and Japanese take 2.3 to 3.1.
ENGLISH, UNKNOWN_LANGUAGE = 0.8, 2.2
ENOUGH = 40  # letters: in a shorter text a rare name says more than the language (2.0 in English)
_SIGNS = 4  # a sign or a letter is told of only if it stands so often in a row
PIECE = "\ufffd"  # what a token that is a part of a character decodes to


def check_run(model: Model, trace: Trace) -> None:
    """InputError unless it is a run of this model, as far as can be known."""
    if not isinstance(trace, Trace):
        raise InputError(f"A run is what “model.capture” gives, not {trace!r:.40}.")
    if not may_be_of(model, trace):
        raise InputError(f"This run is of another model than {model.name}.")


def check_position(run: Trace | int, position: int) -> int:
    """The position in a run, or in so many tokens, as an int; InputError unless it exists."""
    end = (run if isinstance(run, int) else len(run.tokens)) - 1
    if not 0 <= (number := _whole("A position", position)) <= end:
        raise InputError(f"Position {number} does not exist: positions are 0 to {end}.")
    return number


def check_count(name: str, count: int, most: int) -> int:
    """A count as an int; InputError unless it is one of 1 to `most`."""
    if not 1 <= (number := _whole(name, count)) <= most:
        raise InputError(f"{name} must be from 1 to {most:,}, not {number:,}.")
    return number


def _whole(name: str, number: int) -> int:
    try:
        return operator.index(number)
    except TypeError:
        raise InputError(f"{name} must be a whole number, not {number!r}.") from None


@quick
def tokens(model: Model, trace: Trace) -> pd.DataFrame:
    """What the model read: position, token_id, token, shown (the token made visible; a part of a
    character as its bytes), T rows."""
    begun = model.texts.begun(trace.token_ids)
    return pd.DataFrame(
        {
            "position": range(len(trace.tokens)),
            "token_id": trace.token_ids.numpy(),
            "token": list(trace.tokens),
            "shown": [
                display_token(token) * bool(token) + display_bytes(part) * bool(part or not token)
                for token, part in zip(trace.tokens, begun, strict=True)
            ],
        }
    )


@quick
def text_up_to(model: Model, trace: Trace, position: int) -> pd.DataFrame:
    """What the model has read at a position, that token included: one row, text.

    A character that is not complete yet is its bytes so far, "⟨F0 9F⟩". InputError where `position`
    does not exist.
    """
    ids = trace.token_ids[: check_position(trace, position) + 1].tolist()
    text, (_, begun) = model.texts.text(ids), model.texts.context(ids)
    if begun:
        text = text.removesuffix("�") + display_bytes(begun)
    return pd.DataFrame({"text": [text]})


@quick
def check(trace: Trace) -> pd.DataFrame:
    """The three identities measured on this run: identity, error, tolerance, ok, reason.

    "lens": max |unembed(hidden[L]) - the model's own logits|, in logits. "writes": how far
    attention + MLP is from what each block added, relative to the state. "read back": how many
    characters and token ids do not come back from the tokens' texts. `error` is NaN where a
    family's writes are unknown. `reason` is empty where the identity holds.
    """
    return identities(trace.check)


def identities(measured: ModelCheck) -> pd.DataFrame:
    """The identities of a check as the rows of `check`."""
    rows = [
        ("lens", measured.lens_error, measured.lens_tolerance, measured.lens_ok),
        ("writes", measured.write_error, WRITE_TOLERANCE, measured.write_ok),
        ("read back", measured.read_back_error, 0.0, measured.read_back_ok),
    ]
    frame = pd.DataFrame(rows, columns=["identity", "error", "tolerance", "ok"])
    return frame.assign(reason=["" if ok else measured.reason for ok in frame["ok"]])


@quick
def facts(model: Model, trace: Trace) -> pd.DataFrame:
    """The sizes behind a page, one row: model, family, n_layers (L), d_model (D), d_vocab (V),
    n_tokens (T), prompt_limit (tokens), device, dtype, blocks (the path of the model's blocks)."""
    return pd.DataFrame(
        [
            {
                "model": model.name,
                "family": model.family,
                "n_layers": model.n_layers,
                "d_model": model.d_model,
                "d_vocab": model.d_vocab,
                "n_tokens": len(trace.tokens),
                "prompt_limit": model.prompt_limit,
                "device": str(model.device),
                "dtype": str(model.dtype).removeprefix("torch."),
                "blocks": model.blocks_path,
            }
        ]
    )


@apart
@costs(lambda n_tokens, n_layers, params: n_tokens + params["n_tokens"])
def continuation(
    model: Model,
    prompt: str,
    n_tokens: int = 20,
    edits: tuple[Edit, ...] = (),
    progress: Callable[[float, str], None] | None = None,
    temperature: float = 0.0,
    seed: int = 0,
) -> pd.DataFrame:
    """What the model writes next: one row, text. Always its top-1 at `temperature` 0; above, drawn
    from softmax(logits / temperature), the same for the same `seed`.

    At most `n_tokens` tokens, fewer if the model ends the text. InputError unless `n_tokens` is one
    of 1 to 200 and `temperature` and `seed` are numbers from 0 on. `progress` is called at each
    token and may raise, which ends the writing.
    """
    n_tokens = check_count("The length of a continuation", n_tokens, LONGEST_CONTINUATION)
    text = model.generate(prompt, n_tokens, edits, progress, temperature=temperature, seed=seed)
    return pd.DataFrame({"text": [text]})


_FINDINGS = {  # code: severity, message
    "appended": (
        "warning",
        "The tokenizer put {tokens} after your text, so what the model says at the last position "
        "is about what follows that: your own text ends at position {position}.",
    ),
    "bos_twice": (
        "warning",
        "Your text begins with the start token “{token}”, which the tokenizer puts there by "
        "itself, so the model reads it twice: delete yours.",
    ),
    "end": (
        "warning",
        "The likeliest next token ends the text, {top}: to get a word, stop in mid-sentence.",
    ),
    "end_of_turn": (
        "warning",
        "The likeliest next token ends the text, {top}: this model was tuned on chats, and your "
        "prompt is not in their format, so give it a sentence to go on with, not a question.",
    ),
    "newline": (
        "warning",
        "The likeliest next token is a line break, {top}, which is a real answer: to get a word, "
        "stop in mid-sentence.",
    ),
    "blank": (
        "warning",
        "The prompt holds nothing but blanks, so there is nothing to go by: type at least a word.",
    ),
    "trailing_space": (
        "warning",
        "The prompt ends with a space, which tokenizers usually join to the word after it: delete "
        "it, unless a digit is to follow.",
    ),
    "unknown": (
        "warning",
        "{count} of the tokens stand for characters that this tokenizer does not know, so the "
        "model never sees them: write them another way.",
    ),
    "space": (
        "note",
        "The likeliest next token is only a space, {top}, often before a number: let the model "
        "continue to see what follows.",
    ),
    "punctuation": (
        "note",
        "The likeliest next token is punctuation, {top}: to get a word, stop where only a word can "
        "follow.",
    ),
    "unsure": (
        "note",
        "The likeliest next token is only {top}: this model does not settle on one answer.",
    ),
    "unknown_language": (
        "note",
        "The model foresees this text badly, {nats:.1f} nats a letter where English prose takes "
        "{usual}: it hardly knows such a language, so little can be read off what it says.",
    ),
    "repeated": (
        "note",
        "“{token}” stands {count} times in a row from position {position}: the model may answer "
        "the repetition rather than the words.",
    ),
    "again": (
        "note",
        "The same {length} tokens stand {count} times in a row from position {position}: the model "
        "may answer the repetition rather than the words.",
    ),
    "pieces": (
        "note",
        "{count} tokens hold only a part of a character and are shown as its bytes, and the one "
        "after them that completes it as the character: this tokenizer spells rare characters in "
        "several tokens.",
    ),
    "moved": (
        "note",
        "This text is split as the model's file says since Strata reads that: from position "
        "{position} on its tokens were others before, and a link of that time may point at another "
        "one than it did.",
    ),
    "bos": (
        "note",
        "The tokenizer put {tokens} before your text, at {where}.",
    ),
    "no_bos": (
        "note",
        "The tokenizer adds no start token, so the first token of your text is position 0, whose "
        "states are often unlike all others.",
    ),
}
FINDINGS = tuple(_FINDINGS)
# Those that tell what the model says; all others are about the text alone.
ABOUT_THE_ANSWER = (
    *("end", "end_of_turn", "newline", "space", "punctuation", "unsure"),
    "unknown_language",
)


@quick
def doctor(model: Model, trace: Trace) -> pd.DataFrame:
    """What about this prompt may mislead a learner: severity ("warning" or "note"), code, message.

    At most one row for each code of `FINDINGS`, in that order, warnings first; always one of bos
    and no_bos, which say what the tokenizer does. A message is one sentence of plain text, its
    tokens made visible, that says what to do or what to expect.
    """
    found = dict(
        [
            *_about_the_answer(model, trace),
            *_about_the_language(trace),
            *_about_the_prompt(model, trace),
        ]
    )
    rows = [
        (severity, code, message.format(**found[code]))
        for code, (severity, message) in _FINDINGS.items()
        if code in found
    ]
    return pd.DataFrame(rows, columns=["severity", "code", "message"])


def _about_the_answer(model: Model, trace: Trace) -> Iterator[Finding]:
    """At most one finding on the top-1 at the last position."""
    probabilities = trace.logits[-1].float().softmax(dim=-1)  # (V,)
    best = int(probabilities.argmax())
    [token] = model.decode([best], after=trace.token_ids)
    words = token.strip()
    top = {"top": f"“{display_candidate(token)}” ({float(probabilities[best]):.0%})"}
    if best in model.tokenizer.all_special_ids:
        yield "end_of_turn" if model.tokenizer.chat_template else "end", top
    elif token and not words:
        yield "newline" if "\n" in token else "space", top
    elif words and all(unicodedata.category(character)[0] == "P" for character in words):
        yield "punctuation", top
    elif float(probabilities[best]) < UNSURE:
        yield "unsure", top


def foreseen(trace: Trace) -> tuple[float, int]:
    """How little a model expected a text: (nats a letter, letters).

    The sum of the surprisals of all tokens but the first, over the columns that they take up on a
    screen: a wide character, of Chinese, Japanese or Korean, says as much as two letters and more,
    and takes up two columns. NaN where there is no second token.
    """
    logits = trace.logits[:-1].float()  # (T - 1, V)
    own = logits.gather(-1, trace.token_ids[1:, None])[:, 0]  # (T - 1,)
    text = "".join(trace.tokens[1:])
    columns = sum(1 + (unicodedata.east_asian_width(sign) in "WF") for sign in text)
    total = float((logits.logsumexp(-1) - own).sum())
    return (total / columns if columns else math.nan), columns


def _about_the_language(trace: Trace) -> Iterator[Finding]:
    """Whether the text is in a language that the model hardly knows, by `foreseen`."""
    written = [unicodedata.category(sign)[0] for sign in trace.text if not sign.isspace()]
    if sum(kind in "LM" for kind in written) < 0.75 * len(written):
        return  # signs and numbers are no language
    ids = trace.token_ids.tolist()
    if 3 * len(set(ids)) < len(ids):  # nor is one letter again and again
        return
    nats, columns = foreseen(trace)
    if columns >= ENOUGH and nats > UNKNOWN_LANGUAGE:
        yield "unknown_language", {"nats": nats, "usual": ENGLISH}


def _about_the_prompt(model: Model, trace: Trace) -> Iterator[Finding]:
    ids, tokenizer = trace.token_ids.tolist(), model.tokenizer
    if not trace.text.strip():
        yield "blank", {}
    elif trace.text.endswith((" ", "\t")):
        yield "trailing_space", {}
    unknown = ids.count(tokenizer.unk_token_id)
    if unknown and tokenizer.unk_token not in trace.text:
        yield "unknown", {"count": unknown}
    # " very" repeats "very", while pieces of characters look alike without being so.
    words = [
        (token.strip() or token, i if not token or PIECE in token else -1)
        for i, token in zip(ids, trace.tokens, strict=True)
    ]
    run = max((list(run) for _, run in groupby(range(len(ids)), words.__getitem__)), key=len)
    word = words[run[0]][0]
    if len(run) >= (_SIGNS if sum(map(str.isalnum, word)) < 2 else 2) and word.strip():
        yield "repeated", {"token": display_token(word), "count": len(run), "position": run[0]}
    elif again := _again(trace.token_ids.numpy()):
        yield "again", again
    if pieces := trace.tokens.count(""):
        yield "pieces", {"count": pieces}
    if model.card.source in ("bundled", "gguf"):
        first = model.texts.moved_from(trace.text, trace.token_ids)
        if first is not None:
            yield "moved", {"position": first}
    yield from _about_what_was_added(model, trace)


def _about_what_was_added(model: Model, trace: Trace) -> Iterator[Finding]:
    """What the tokenizer put around the text, by what it puts around every text."""
    ids = trace.token_ids.tolist()
    before, after = map(len, model.texts.around(ids))
    if after:
        told = _counted(trace.tokens[-after:])
        yield "appended", {"tokens": told, "position": len(ids) - after - 1}
    if not before:
        yield "no_bos", {}
        return
    if ids[before : before + 1] == [model.tokenizer.bos_token_id] and ids[before] in ids[:before]:
        yield "bos_twice", {"token": display_token(trace.tokens[before])}
    where = "position 0" if before == 1 else f"positions 0 to {before - 1}"
    yield "bos", {"tokens": _counted(trace.tokens[:before]), "where": where}


def _counted(tokens: Sequence[str]) -> str:
    """Special tokens as part of a sentence."""
    listed = ", ".join(f"“{display_token(token)}”" for token in tokens)
    return f"a token, {listed}," if len(tokens) == 1 else f"{len(tokens)} tokens, {listed},"


def _again(ids: NDArray[np.int64]) -> dict[str, int] | None:
    """The longest stretch in which two tokens or more stand three times in a row or more."""
    found, longest = None, 0
    for length in range(2, len(ids) // 3 + 1):
        equal = np.flatnonzero(ids[length:] != ids[:-length])  # where a repetition ends
        ends = np.concatenate([[-1], equal, [len(ids) - length]])
        run = int(np.diff(ends).argmax())
        same = int(ends[run + 1] - ends[run] - 1)
        if same >= 2 * length and same + length > longest:
            longest = same + length
            begins, count = int(ends[run]) + 1, longest // length
            found = {"length": length, "count": count, "position": begins}
    return found


VIEWS = (tokens, text_up_to, check, facts, continuation, doctor, target, named)
