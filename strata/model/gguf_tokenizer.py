"""The tokenizer that a GGUF file describes, as a `tokenizers.Tokenizer`.

The file holds a vocabulary and the *name* of a rule; `gguf_rules.py` has the rules. What is done
with both follows src/llama-vocab.cpp of ggml-org/llama.cpp, at the commit that stands there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

from strata.errors import ModelError
from strata.model.gguf_rules import RULES, Rule

_UNKNOWN, _CONTROL, _USER_DEFINED = 2, 3, 4  # values of tokenizer.ggml.token_type
_ROLES = {  # transformers' names -> keys, each the id of one token
    "bos_token": "tokenizer.ggml.bos_token_id",
    "eos_token": "tokenizer.ggml.eos_token_id",
    "unk_token": "tokenizer.ggml.unknown_token_id",
    "pad_token": "tokenizer.ggml.padding_token_id",
}
_USUAL_IDS = {
    "bos_token": 1,
    "eos_token": 2,
    "unk_token": 0,
}  # of SentencePiece, where none is said
_READ = {
    f"tokenizer.ggml.{name}" for name in "model pre tokens merges scores token_type".split()
} | {
    *_ROLES.values(),
    "tokenizer.ggml.add_bos_token",
    "tokenizer.ggml.add_eos_token",
    "tokenizer.ggml.add_space_prefix",
}
_FALSE_ONLY = {  # what these ask for, Strata does not do
    "tokenizer.ggml.add_sep_token",
    "tokenizer.ggml.remove_extra_whitespaces",
}
_NO_MATTER = (  # about chats, generation and filling gaps; and the types of segments of encoders
    "tokenizer.chat_template",
    "tokenizer.huggingface.json",
    "tokenizer.ggml.token_type_count",
    "tokenizer.ggml.suppress_tokens",
    "tokenizer.ggml.fim_",
    "tokenizer.ggml.eot_token_id",
    "tokenizer.ggml.eom_token_id",
    "tokenizer.ggml.seperator_token_id",
    "tokenizer.ggml.cls_token_id",
    "tokenizer.ggml.mask_token_id",
    "tokenizer.ggml.prefix_token_id",
    "tokenizer.ggml.suffix_token_id",
    "tokenizer.ggml.middle_token_id",
)
# Older files mark these as plain words; llama.cpp takes them for control tokens all the same.
_ALWAYS_CONTROL = frozenset(
    "<|eot_id|> <|im_end|> <|end|> <|return|> <|call|> <|flush|> <|calls|> <end_of_turn> "
    "<|endoftext|> </s> <|eom_id|> <EOT> _<EOT> [EOT] [EOS] <|end_of_text|> <end_of_utterance> "
    "<eos> <turn|> <|tool_response> <｜end▁of▁sentence｜> [e~[ "
    "<|fim_prefix|> <fim-prefix> <fim_prefix> <｜fim▁begin｜> <PRE> ▁<PRE> <|code_prefix|> "
    "<|fim_suffix|> <fim-suffix> <fim_suffix> <｜fim▁hole｜> <SUF> ▁<SUF> <|code_suffix|> "
    "<|fim_middle|> <fim-middle> <fim_middle> <｜fim▁end｜> <MID> ▁<MID> <|code_middle|> "
    "<|fim_pad|> <fim-pad> <fim_pad> <PAD> [PAD] <|fim_repo|> <|repo_name|> <fim-repo> <REPO> "
    "<reponame> <|file_sep|>".split()
)
_SPACE = "▁"


def tokenizer_of(keys: Mapping[str, Any]) -> tuple[Tokenizer, dict[str, str]]:
    """The tokenizer of a GGUF file and its special tokens by role ("bos_token", ...).

    keys: all keys of the file. Raises ModelError, naming the rule or key, for what is not known.
    """
    _refuse_unknown_keys(keys)
    kind = keys.get("tokenizer.ggml.model")
    tokens = _tokens(keys)
    if kind == "llama":
        core, starts, ids = _sentencepiece(keys, tokens), True, _USUAL_IDS
    elif kind in ("gpt2", "gemma4"):
        rule = _rule(kind, keys)
        core, starts, ids = _byte_pairs(keys, tokens, rule), rule.starts, {}
    else:
        raise ModelError(
            f"This GGUF file has a tokenizer of the kind {kind!r} (tokenizer.ggml.model), which "
            "Strata does not read; it reads 'gpt2', 'llama' and 'gemma4'."
        )
    found = {role: keys.get(key, ids.get(role)) for role, key in _ROLES.items()}
    roles = {role: i for role, i in found.items() if i is not None and i < len(tokens)}
    _keep_whole(core, keys, tokens)
    # llama.cpp starts texts for Gemma 4 even where the file says no: without, the model is lost
    begin = kind == "gemma4" or keys.get("tokenizer.ggml.add_bos_token", starts)
    end = keys.get("tokenizer.ggml.add_eos_token", False)
    _surround(core, tokens, roles, begin, end)
    return core, {role: tokens[i] for role, i in roles.items()}


def _refuse_unknown_keys(keys: Mapping[str, Any]) -> None:
    for key, value in keys.items():
        if not key.startswith("tokenizer.") or key in _READ or key.startswith(_NO_MATTER):
            continue
        if key not in _FALSE_ONLY or value:
            raise ModelError(
                f"This GGUF file's tokenizer uses {key}, which Strata cannot follow, so its tokens "
                "would not be the model's own."
            )


def _tokens(keys: Mapping[str, Any]) -> list[str]:
    tokens = [
        token or f"[EMPTY_{i}]" for i, token in enumerate(keys.get("tokenizer.ggml.tokens") or ())
    ]
    if not tokens:
        raise ModelError("This GGUF file has no tokens (tokenizer.ggml.tokens).")
    if len(set(tokens)) < len(tokens):
        twice = next(token for i, token in enumerate(tokens) if token in tokens[:i])
        raise ModelError(f"This GGUF file has the token {twice[:40]!r} twice.")
    return tokens


def _rule(kind: str, keys: Mapping[str, Any]) -> Rule:
    name = "gemma4" if kind == "gemma4" else keys.get("tokenizer.ggml.pre")
    if name is None:
        raise ModelError(
            "This GGUF file does not say by which rule its tokenizer splits text "
            "(tokenizer.ggml.pre is missing); convert the model anew with a recent llama.cpp."
        )
    if name not in RULES:
        raise ModelError(
            f"This GGUF file's tokenizer splits text by the rule {name!r} (tokenizer.ggml.pre), "
            "which Strata does not know."
        )
    if keys.get("tokenizer.ggml.add_space_prefix"):
        raise ModelError(
            "This GGUF file asks for a space before each text (tokenizer.ggml.add_space_prefix), "
            f"which its rule {name!r} does not have."
        )
    return RULES[name]


# Byte pair encoding --------------------------------------------------------------------------


def _byte_pairs(keys: Mapping[str, Any], tokens: Sequence[str], rule: Rule) -> Tokenizer:
    merges = []
    for line in keys.get("tokenizer.ggml.merges") or ():
        left, _, right = line[1:].partition(" ")  # a piece may itself begin with a space
        merges.append((line[:1] + left, right))
    vocabulary = {token: i for i, token in enumerate(tokens)}
    for pair in merges:
        for piece in (*pair, "".join(pair)):
            if piece not in vocabulary:
                raise ModelError(f"This GGUF file merges to {piece[:40]!r}, which is no token.")
    if not merges:
        raise ModelError("This GGUF file has no merges (tokenizer.ggml.merges).")
    core = Tokenizer(
        models.BPE(vocabulary, merges, ignore_merges=rule.ignore_merges, byte_fallback=rule.spaces)
    )
    words: list[Any] = [pre_tokenizers.Split(Regex(e), "isolated") for e in rule.expressions]
    if rule.spaces:
        core.normalizer = normalizers.Replace(" ", _SPACE)
        core.decoder = _spaces_back()
    else:
        if rule.composed:
            core.normalizer = normalizers.NFC()
        words.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))
        core.decoder = decoders.ByteLevel()
    core.pre_tokenizer = pre_tokenizers.Sequence(words)
    return core


# SentencePiece -------------------------------------------------------------------------------


def _sentencepiece(keys: Mapping[str, Any], tokens: Sequence[str]) -> Tokenizer:
    prefix = keys.get("tokenizer.ggml.add_space_prefix", True)
    scores = keys.get("tokenizer.ggml.scores") or [0.0] * len(tokens)
    vocabulary = {token: i for i, token in enumerate(tokens)}
    unknown = keys.get("tokenizer.ggml.unknown_token_id", _USUAL_IDS["unk_token"])
    core = Tokenizer(
        models.BPE(
            vocabulary,
            _merges(vocabulary, scores),
            unk_token=tokens[unknown] if unknown < len(tokens) else None,
            fuse_unk=True,
            byte_fallback=all(f"<0x{byte:02X}>" in vocabulary for byte in range(256)),
        )
    )
    spaces = normalizers.Replace(" ", _SPACE)
    core.normalizer = (
        normalizers.Sequence([normalizers.Prepend(_SPACE), spaces]) if prefix else spaces
    )
    core.decoder = _spaces_back(prefix)
    return core


def _merges(vocabulary: Mapping[str, int], scores: Sequence[float]) -> list[tuple[str, str]]:
    """All pairs of tokens that make a token, the best first: by its score, then by its id."""
    found = []
    for token, i in vocabulary.items():
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            if left in vocabulary and right in vocabulary:
                found.append((-scores[i], i, vocabulary[left], left, right))
    return [(left, right) for *_, left, right in sorted(found)]


def _spaces_back(prefix: bool = False) -> Any:
    steps: list[Any] = [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    return decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)] if prefix else steps)


# Special tokens ------------------------------------------------------------------------------


def _keep_whole(core: Tokenizer, keys: Mapping[str, Any], tokens: Sequence[str]) -> None:
    """Tokens that are found in a text before anything else: control, unknown and user-defined."""
    types = keys.get("tokenizer.ggml.token_type") or [1] * len(tokens)
    name = str(keys.get("general.name", "")).lower()
    strips = "phi-3" in name or "phi3" in name  # as llama.cpp tells them, and all that it has
    special: list[AddedToken] = []
    plain: list[AddedToken] = []
    for token, kind in zip(tokens, types, strict=False):
        control = kind in (_UNKNOWN, _CONTROL) or token in _ALWAYS_CONTROL
        if control or kind == _USER_DEFINED:
            rstrip = strips and token not in ("<unk>", "<s>", "<|endoftext|>")
            whole = AddedToken(token, normalized=False, special=control, rstrip=rstrip)
            (special if control else plain).append(whole)
    core.add_special_tokens(special)  # all at once: each call builds the search anew
    core.add_tokens(plain)


def _surround(
    core: Tokenizer, tokens: Sequence[str], roles: Mapping[str, int], begin: bool, end: bool
) -> None:
    template, special = ["$A"], []
    for role in ["bos_token"] * bool(begin) + ["eos_token"] * bool(end):
        if role not in roles:
            raise ModelError(
                "This GGUF file asks for a token around each text but does not say which "
                f"({_ROLES[role]} is missing)."
            )
        template = [role, *template] if role == "bos_token" else [*template, role]
        special.append({"id": role, "ids": [roles[role]], "tokens": [tokens[roles[role]]]})
    if special:
        core.post_processor = processors.TemplateProcessing(single=template, special_tokens=special)
