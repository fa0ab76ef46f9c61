"""A process in the place of a model's: at once ready, since it imports nothing.

What concerns the process alone (started, lost, silent, closed) needs no model in it, whose imports
take eight seconds of a core.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

from strata.engine import runner
from strata.model import Model

_PROGRAM = """
import pickle, sys

def say(answer):
    sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()

with open({path!r}, "rb") as file:
    answers = pickle.load(file)
assert type(pickle.load(sys.stdin.buffer)) is int  # the file of the weights
say(pickle.dumps(("ready",)))
while True:
    try:
        number, [prompt], edits = pickle.load(sys.stdin.buffer)
    except EOFError:
        break
    assert edits == ()
    say(answers[number, prompt])
"""


_RUNS = 10  # most that a test asks one runner for


def stand_in(model: Model, prompts: Sequence[str], file: Path) -> str:
    """The program that gives, for each of the prompts alone, what the model's process would; the
    answers are kept in `file`, in pickles within a pickle, which can be said without torch."""
    answers = {}
    for prompt in prompts:
        trace = model.capture(prompt)
        packed = [runner._packed(trace, trace.check)]
        for number in range(_RUNS):
            answers[number, prompt] = pickle.dumps((number, packed), protocol=5)
    file.write_bytes(pickle.dumps(answers))
    return _PROGRAM.format(path=str(file))
