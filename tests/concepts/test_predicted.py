"""What candidates add is told for the place where they would stand, in every table of them."""

from __future__ import annotations

from typing import Any

import pytest

from strata.concepts.logit_lens import cell, followed, grid, lens
from strata.concepts.predictions import next_token
from strata.concepts.scaling import compare
from strata.concepts.script import CANDIDATES, TEXTS
from strata.model.pieces import byte_alphabet
from tests import spelling
from tests.spelling import ROWS


@pytest.mark.parametrize("kind", ["llama2", "bytes"])
def test_predicted_is_what_an_id_would_add_after_the_text(kind: str) -> None:
    model = spelling.model(kind)
    fast = model.tokenizer
    trace = model.capture("the 日 cat")
    ids = trace.token_ids.tolist()
    whole = trace.tokens.index("日")  # after the position before it, its last byte completes it

    def wanted(position: int, token_id: int) -> str:
        known = fast.decode(ids[: position + 1]).rstrip("\ufffd")
        return fast.decode([*ids[: position + 1], token_id]).removeprefix(known)

    frame = lens(model, trace, k=ROWS)
    assert len(frame) == len(trace.hidden) * len(ids) * ROWS
    last = frame[frame["layer"] == 1].set_index(["position", "token_id"])["predicted"]
    assert last[whole - 1, ids[whole]] == "日"
    assert last[whole, ids[whole]] == "⟨A5⟩"
    assert last[0, ROWS - 1] == ""  # a row of the head that no token has
    assert last[0, ids[-1]] == " cat"
    for position in (0, whole - 1, whole):
        for token_id in range(0, ROWS, 7):
            found, told = last[position, token_id], wanted(position, token_id)
            if token_id >= len(fast):
                assert found == ""  # a row of the head that no token has
            elif "\ufffd" in told:  # no text, so it is told by its bytes
                assert "⟨" in found or found.startswith("\ufffd")
            else:
                assert found == told
        after = next_token(model, trace, position, k=ROWS).set_index("token_id")["predicted"]
        assert after.to_dict() == last[position].to_dict()
    at = {"position": whole - 1}
    for table in (cell(model, trace, 1, k=5, **at), followed(model, trace, **at)):
        for row in table.itertuples():
            assert row.predicted == last[whole - 1, row.token_id]
    for row in grid(model, trace).query("layer == 1").itertuples():
        assert row.predicted == last[row.position, row.token_id]
    for row in compare(model, trace, 0, 0.5, k=5).itertuples():
        assert row.predicted == last[len(ids) - 1, row.token_id]


def test_a_script_tells_parts_of_characters_apart() -> None:
    fast = spelling.tokenizer("bytes")
    ran: dict[str, Any] = {"tokenizer": fast}
    exec(TEXTS + CANDIDATES, ran)
    parts = fast.convert_tokens_to_ids(
        [name for name, byte in byte_alphabet().items() if byte > 127]
    )
    assert len({ran["candidate"](i, []) for i in parts}) == 128
    read = fast("the 日")["input_ids"]
    assert ran["candidate"](read[-1], read[:-1]) == "日"
