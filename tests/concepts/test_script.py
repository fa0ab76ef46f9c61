"""The opening that all programs share."""

from __future__ import annotations

import ast

from strata.concepts.script import program, with_note, with_reader


def test_a_note_stands_above_the_source_and_changes_nothing_else() -> None:
    made = program("Why?", "print(SOURCE)", "/a/folder", None, "\nSOURCE = 'no'")
    noted = with_note(made, "Where this comes from,\nand how to get it.")
    assert "\n# Where this comes from,\n# and how to get it.\nSOURCE = '/a/folder'\n" in noted
    assert ast.dump(ast.parse(noted)) == ast.dump(ast.parse(made))


def test_another_reader_is_named_where_the_program_reads_only() -> None:
    prompt = 'x\nmodel = AutoModelForCausalLM.from_pretrained("y")'
    code = with_reader(
        program("What?", "pass", "folder", None, prompt), "AutoModelForImageTextToText"
    )
    assert "from transformers import AutoModelForImageTextToText, AutoTokenizer" in code
    assert "\nmodel = AutoModelForImageTextToText.from_pretrained(SOURCE" in code
    assert f"PROMPT = {prompt!r}" in code
    assert code.count("AutoModelForCausalLM") == 1
