"""Deliberate breaks: faults that the product could really have, and the tests that must notice.

`python -m tests.breaks` puts one after the other into a copy of the tree and runs the tests that
are expected to fail. It proves that the suite still catches faults, which a green run cannot. It is
no part of continuous integration; run it after the suite itself was changed. Each area has a file
of `BREAKS`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Break:
    """One fault and who notices it.

    `fault`: what goes wrong for whom, in a sentence. In `file` (from the root) `old`, which is
    there exactly once, becomes `new`. `tests`: what pytest is given, files or `file.py::test_name`,
    as few and as quick as will do.
    """

    name: str
    fault: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
