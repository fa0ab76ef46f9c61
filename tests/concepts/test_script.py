"""The opening that all programs share."""

from __future__ import annotations

import ast

from strata.concepts.script import program, with_note


def test_a_note_stands_above_the_source_and_changes_nothing_else() -> None:
    made = program("Why?", "print(SOURCE)", "/a/folder", None, "\nSOURCE = 'no'")
    noted = with_note(made, "Where this comes from,\nand how to get it.")
    assert "\n# Where this comes from,\n# and how to get it.\nSOURCE = '/a/folder'\n" in noted
    assert ast.dump(ast.parse(noted)) == ast.dump(ast.parse(made))
