r"""How tokenizers of the GGUF format cut text into words before they merge: one rule a name.

The value of `tokenizer.ggml.pre` names the rule. Facts from src/llama-vocab.cpp of
ggml-org/llama.cpp at commit 00ad355e009e83abf98f96a6ded7193b95763681, where each name has its
regular expressions and flags. Where that file rewrites a model's own expression for its engine
(which has neither `(?i:)` nor `\p{Lu}`) and quotes it, the model's own stands here. Names of
encoders, which predict no next token, are left out: a file with such a name is refused like one
with an unknown name.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """Expressions, each applied to the pieces that the one before left; what they match, and what
    lies between, are words.

    `ignore_merges`: a word that is itself a token is not merged first. `starts`: a start token is
    added unless the file says otherwise. `spaces`: tokens are plain text with "▁" for a space, and
    not the 256 letters by which GPT-2 writes bytes. `composed`: the model's own tokenizer first
    composes letters and accents (Unicode's NFC), as transformers' classes for Qwen 2, Qwen 3.5,
    Cohere and GPT-NeoX do; neither GGUF files nor llama.cpp say so.
    """

    expressions: tuple[str, ...]
    ignore_merges: bool = False
    starts: bool = False
    spaces: bool = False
    composed: bool = False


_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
_ENGLISH = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_BEFORE = r"[^\r\n\p{L}\p{N}]?"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_SPACE = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_SIGNS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_SIGNS_SLASH = r" ?[^\s\p{L}\p{N}]+[\r\n/]*"
_CHINESE = r"[一-龥぀-ゟ゠-ヿ]+"
_TRIPLE = r"\p{N}{1,3}"
_LINES = r"[^\n]+|[\n]+"
_ASCII_SIGN_WORD = r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"
_MARKED_WORD = r"[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"


def _any(*alternatives: str) -> str:
    return "|".join(alternatives)


def _by_case(after: str = "", without: str = "") -> str:
    """Words in which capitals come before small letters; `after` may follow."""
    upper, lower = (f"{each[:-1]}{without}]" for each in (_UPPER, _LOWER))
    return f"{_BEFORE}{upper}*{lower}+{after}|{_BEFORE}{upper}+{lower}*{after}"


_LLAMA3 = _any(_ENGLISH, _BEFORE + r"\p{L}+", _TRIPLE, _SIGNS, _SPACE)
_QWEN2 = _any(_ENGLISH, _BEFORE + r"\p{L}+", r"\p{N}", _SIGNS, _SPACE)
_GPT4O = _any(_by_case(_ENGLISH + "?"), _TRIPLE, _SIGNS_SLASH, _SPACE)
_DEEPSEEK3 = (
    _TRIPLE,
    _CHINESE,
    _any(_ASCII_SIGN_WORD, _MARKED_WORD, r" ?[\p{P}\p{S}]+[\r\n]*", _SPACE),
)
_DEEPSEEK_LETTERS = (  # escaped: what Unicode's NFC would change
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅ"
    "ὐ-ὗὙὛὝὟ-\u1f7dᾀ-ᾴᾶ-ᾼ\u1fbeῂ-ῄῆ-ῌῐ-\u1fd3ῖ-\u1fdbῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212a-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎ"
    "ꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃"
)
_BLOOM = r" ?[^(\s|.,!?…。，、।۔،)]+"


def _named(names: str, *expressions: str, **flags: bool) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), Rule(expressions, **flags))


RULES: dict[str, Rule] = {
    **_named("default", r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"),
    **_named("gpt-2 phi-2 gigachat a.x-4.0 mellum exaone4 jais trillion granite-docling", _GPT2),
    **_named("mpt olmo", _GPT2, composed=True),
    **_named("starcoder refact smollm codeshell exaone minerva-7b mellum2", r"\p{N}", _GPT2),
    **_named("command-r", r"\p{N}", _GPT2, composed=True),
    **_named(
        "llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2",
        _LLAMA3,
        ignore_merges=True,
        starts=True,
    ),
    **_named("dbrx smaug-bpe glm4 chatglm-bpe", _LLAMA3),
    **_named(
        "jais-2",
        _any(
            _ENGLISH,
            _BEFORE + r"\p{L}+",
            _TRIPLE,
            _SIGNS,
            r"\s*[\r\n]+",
            *(rf"\s{{{n}}}(?!\S)" for n in (512, 256, 128, 64, 32, 16, 8, 4)),
            r"\s{1,2}(?!\S)|\s{1}",
        ),
    ),
    **_named("qwen2", _QWEN2, composed=True),
    **_named("deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2", _QWEN2),
    **_named(
        "qwen35",
        _any(
            _ENGLISH,
            r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+",
            r"\p{N}",
            r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*",
            _SPACE,
        ),
        composed=True,
    ),
    **_named("ufakzeka", _any(_BEFORE + r"\p{L}+", r"\p{N}", _SIGNS, _SPACE)),
    **_named("laguna", _LINES, _QWEN2),
    **_named(
        "minicpm5",
        _TRIPLE,
        _any(_ENGLISH, _BEFORE + r"\p{L}+", r"\p{N}+", _SIGNS, _SPACE),
        ignore_merges=True,
    ),
    **_named(
        "seed-coder",
        _any(_ENGLISH, _BEFORE + r"\p{L}+", r"\p{N}{1}", r" ?[^\s\p{L}\p{N}\r\n]+", _SPACE),
    ),
    **_named(
        "bailingmoe bailingmoe2 llada-moe",
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*"
        r"|\s*[\r\n]|\s+(?!\S)|\s+",
    ),
    **_named(
        "exaone-moe",
        _any(
            _ENGLISH,
            r"[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+",
            r"\p{N}",
            r" ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+",
        ),
    ),
    **_named(
        "tekken",
        _any(_by_case(), r"\p{N}", _SIGNS_SLASH, _SPACE),
        ignore_merges=True,
        starts=True,
    ),
    **_named("gpt-4o llama4 kanana2 talkie minimax-m2", _GPT4O),
    **_named("tiny_aya cohere2moe", r"\d{1,3}(?=(?:\d{3})*\b)", _GPT4O),
    **_named(  # quoted in src/unicode.cpp, commit 0c4093cc5bdd0062b017a46017538fffa3ab8d5d
        "kimi-k2",
        _any(
            r"[\p{Han}]+",
            _by_case(_ENGLISH + "?", without=r"&&[^\p{Han}]"),
            _TRIPLE,
            _SIGNS,
            _SPACE,
        ),
    ),
    **_named("deepseek-v3 hunyuan-dense joyai-llm hy_v4", *_DEEPSEEK3),
    **_named(
        "spark2_5",
        _TRIPLE,
        _CHINESE,
        _any(_ASCII_SIGN_WORD, _MARKED_WORD, r" ?[\p{P}\p{S}]+", r"[\r\n]|\s+(?!\S)|\s+"),
        r"\p{N}",
    ),
    **_named(
        "deepseek-llm",
        r"[\r\n]",
        rf"\s?[{_DEEPSEEK_LETTERS}]+",
        r"\s?[!-/:-~！-／：-～‘-‟　-。]+",
        r"\s+$",
        r"[一-龥ࠀ-一가-퟿]+",
        r"\p{N}+",
    ),
    **_named(
        "deepseek-coder", r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", r"[一-龥ࠀ-一가-퟿]+", r"\p{N}"
    ),
    **_named(
        "youtu",
        r"[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+",
        _any(_by_case(_ENGLISH + "?"), r"\p{N}", _SIGNS_SLASH, _SPACE),
        ignore_merges=True,
    ),
    **_named(
        "afmoe",
        r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))",  # threes, counted from the end of the number
        "[一-鿿㐀-䶿\uf900-﫿぀-ゟ゠-ヿ･-ﾟ⼀-⿟เ-๿຀-໿ក-៿က-႟ꩠ-ꩿꧠ-꧿가-힯ᄀ-ᇿ]+",
        _DEEPSEEK3[2],
    ),
    **_named("falcon", r"[\p{P}\$\+<=>\^~\|`]+", _GPT2, r"[0-9][0-9][0-9]"),
    **_named("superbpe", r"\p{N}+", r"(?=(\d{3})+(?!\d))"),
    **_named("bloom poro-chat gpt3-finnish", _BLOOM),
    **_named("viking", _BLOOM, r"\p{N}"),
    **_named(
        "chameleon",
        r"<sentinel:[0-9]+>",
        r"(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z",
        r"([\t\n]|    |  )",
        r"\p{N}",
        r"[\p{P}!-/:-@\[-`{-~]",
        _GPT2,
        starts=True,
    ),
    **_named("gemma4", _LINES, starts=True, spaces=True),
    **_named("sarvam-moe", _LINES, spaces=True),
}
