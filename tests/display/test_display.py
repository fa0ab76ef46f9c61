"""Every character of a token can be seen, and none of them can do anything."""

import math
import sys
import unicodedata

import pandas as pd
import pytest

from strata.display.tokens import (
    LONGEST,
    digits,
    display_bytes,
    display_candidate,
    display_context,
    display_percent,
    display_sampled,
    display_text,
    display_token,
    fixed,
    listed,
    part_of,
    percent,
    stretches,
    with_shown,
)


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        (" Paris", "␣Paris"),
        ("new york ", "new␣york␣"),
        ("   ", "␣␣␣"),
        ("\n", "↵"),
        ("\n\n", "↵↵"),
        ("\t", "⇥"),
        ("", "∅"),
        ("\r\n", "\\u{000D}↵"),
        ("\x00", "\\u{0000}"),
        ("a\x1b[31m", "a\\u{001B}[31m"),
        ("\x7f", "\\u{007F}"),
        ("\u202egnp", "\\u{202E}gnp"),  # right-to-left override
        ("\u2066x\u2069", "\\u{2066}x\\u{2069}"),
        ("\u200b", "\\u{200B}"),  # zero-width space
        ("\ufeff", "\\u{FEFF}"),
        ("a\u00adb", "a\\u{00AD}b"),  # soft hyphen
        ("\u00a0", "\\u{00A0}"),
        ("\u3000", "\\u{3000}"),
        ("\u2028", "\\u{2028}"),
        ("\ud800", "\\u{D800}"),
        ("\ue000", "\\u{E000}"),
        ("\U0010ffff", "\\u{10FFFF}"),
        ("\ufe0f", "\\u{FE0F}"),
        ("\u3164", "\\u{3164}"),  # a filler: a letter that draws nothing
        ("\u2800", "\\u{2800}"),  # blank Braille
        ("col\u00b7lega", "col·lega"),
        ("a␣b", "a\\u{2423}b"),  # a real mark of a space is none
        ("↵", "\\u{21B5}"),
        ("∅", "\\u{2205}"),
        ("⟨", "\\u{27E8}"),  # which begins a token's bytes
        ("\u0301", "◌\u0301"),
        (" \u0301", "␣◌\u0301"),  # nor does a mark sit on a sign that stands for a space
        ("e\u0301", "e\u0301"),
        ("का", "का"),
        ("\ufffd", "\ufffd"),
        ("日本", "日本"),
        ("שלום", "שלום"),
        ("🙂", "🙂"),
        ("…", "…"),
        ("![](http://x)", "![](http://x)"),  # text-safe sinks show it as it is
        ("<script>", "<script>"),
        (":material/bolt:", ":material/bolt:"),
    ],
)
def test_what_is_shown(token: str, shown: str) -> None:
    assert display_token(token) == shown


def test_every_character_is_visible_alone() -> None:
    """Whatever the code point, the result is printable and has no category that acts unseen."""
    for number in range(sys.maxunicode + 1):
        shown = display_token.__wrapped__(chr(number))
        assert shown.isprintable()
        assert " " not in shown
        assert shown == chr(number) or shown[0] in "\\␣↵⇥◌"
        assert unicodedata.category(shown[0])[0] not in "MCZ"


def test_different_single_characters_never_look_alike() -> None:
    shown = [display_token.__wrapped__(chr(n)) for n in range(sys.maxunicode + 1)]
    assert len(set(shown)) == len(shown)


@pytest.mark.parametrize("token", ["x" * 33, " " * 500, "\x00" * 40, "a" * 30 + "\u202e" * 9])
def test_long_tokens_are_cut_and_never_inside_an_escape(token: str) -> None:
    shown = display_token(token)
    assert len(shown) <= LONGEST
    assert shown.endswith("…")
    assert shown.count("\\u{") == shown.count("}")


def test_longest_that_is_not_cut() -> None:
    assert display_token("y" * 32) == "y" * 32
    assert display_token(" " * 32) == "␣" * 32
    assert display_token("y" * 31 + " z") == "y" * 31 + "…"


def test_running_text_keeps_single_spaces() -> None:
    assert display_text("The capital of France is") == "The capital of France is"
    assert display_text(" two  spaces, end ") == "␣two␣␣spaces, end␣"
    assert display_text("a\nb\u202ec") == "a↵b\\u{202E}c"
    assert display_text("") == "∅"
    assert display_text(" ") == "␣"


def test_running_text_is_cut_at_its_beginning() -> None:
    assert display_text("The capital of France is", longest=9) == "…France is"
    assert display_text("The capital of France is", longest=10) == "…France is"
    assert display_text("abc", longest=3) == "abc"


def test_a_running_text_is_cut_between_words() -> None:
    text = "the beach at low tide, where he found it"
    for longest in range(12, len(text)):
        assert text.endswith(kept := display_text(text, longest)[1:])
        assert text[-len(kept) - 1] == " "
        assert longest / 2 <= len(kept) <= longest
    assert display_text("Donaudampfschifffahrt", 8) == "…ifffahrt"
    assert display_text("今天的天气很好", 3) == "…气很好"


def test_numbers_in_sentences() -> None:
    assert [
        digits(x) for x in (0, 0.5, -12.345, 123.4, -23_456)
    ] == "0 0.5 −12.3 123 −23,456".split()
    assert digits(6.3e-7, 1) == "6 × 10⁻⁷"
    shown = [percent(p) for p in (3e-5, 0.0012, 0.0051, 0.5, 0.9949, 0.9999, math.nan)]
    assert shown == ["less than 0.01%", "0.12%", "1%", "50%", "99%", "more than 99%", "nan%"]
    assert [fixed(x, 2) for x in (-0.001, -0.5, 1)] == ["0.00", "−0.50", "1.00"]


def test_counts_in_sentences() -> None:
    assert [part_of(n, 5, "cell") for n in (0, 3, 5)] == [
        "none of the 5 cells",
        "3 of 5 cells",
        "all 5 cells",
    ]
    assert part_of(0, 1, "position") == "0 of 1 position"
    assert part_of(1_000, 2_000, "cell") == "1,000 of 2,000 cells"
    assert [listed(parts) for parts in (["a"], ["a", "b"], ["a", "b", "c"])] == [
        "a",
        "a and b",
        "a, b and c",
    ]


def test_neighbours_are_told_together() -> None:
    told = {(3,): "3", (1, 3): "1 and 3", (3, 4, 5, 9): "3 to 5 and 9", (0, 1, 4): "0 to 1 and 4"}
    assert {layers: stretches(layers) for layers in told} == told


@pytest.mark.parametrize(
    ("prob", "short", "longer"),
    [
        (0.7732, "77.3%", "77.32%"),
        (0.0004, "<0.1%", "0.04%"),
        (0.0005, "0.1%", "0.05%"),
        (0.00003, "<0.1%", "<0.01%"),
        (1e-30, "<0.1%", "<0.01%"),
        (0.0, "0.0%", "0.00%"),
        (1.0, "100.0%", "100.00%"),
    ],
)
def test_only_what_is_impossible_is_shown_as_nothing(prob: float, short: str, longer: str) -> None:
    assert (display_percent(prob), display_percent(prob, 2)) == (short, longer)


def test_a_part_of_a_character_is_shown_by_its_bytes() -> None:
    assert display_bytes("日".encode()[:2]) == "⟨E6 97⟩"
    assert display_bytes(b"") == "∅"


def test_a_part_of_a_character_is_told_where_its_bytes_are_not_at_hand() -> None:
    assert display_sampled("") == "⟨part of a character⟩"
    assert display_sampled(" a") == "␣a"


def test_a_row_without_a_token_is_told_in_a_word() -> None:
    assert display_candidate("") == "∅ no token"
    assert display_candidate(" Paris") == "␣Paris"


def test_a_candidate_keeps_the_bytes_that_a_model_writes_out() -> None:
    assert display_candidate(" ⟨F0 9F⟩") == "␣⟨F0 9F⟩"
    assert display_candidate("⟨80⟩\u0301") == "⟨80⟩◌\u0301"
    assert display_candidate("⟨a⟩ ⟨F0") == "\\u{27E8}a⟩␣\\u{27E8}F0", "a text that holds the sign"
    assert display_candidate(" " * 29 + "⟨F0 9F⟩") == "␣" * 29 + "⟨F…"
    assert display_token("⟨F0⟩") == "\\u{27E8}F0⟩"


def test_a_table_keeps_what_a_page_shows_of_its_tokens() -> None:
    frame = pd.DataFrame({"token": [" a", ""]})
    assert with_shown(frame)["shown"].tolist() == ["␣a", "∅"]
    named = frame.assign(shown=["␣a", "⟨E6⟩"])
    assert with_shown(named)["shown"].tolist() == ["␣a", "⟨E6⟩"]


def test_a_context_ends_in_what_has_begun() -> None:
    assert display_context("I love ⟨F0 9F⟩") == "I love␣⟨F0 9F⟩"
    assert display_context("I ⟨F0 9F⟩ love") == "I \\u{27E8}F0 9F⟩ love"
    assert display_context("I love you") == "I love you"
    assert display_context("⟨E2⟩") == "⟨E2⟩"
