"""States read in another text: against plain transformers with a hook, and what it says."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from strata.concepts.patching import elsewhere_words
from strata.concepts.patching.read_elsewhere import (
    REPEAT,
    by_layer,
    names,
    read_elsewhere,
    source_layers,
)
from strata.concepts.patching.script import script
from strata.errors import InputError, ModelError
from strata.model import Model
from tests.plain import Plain
from tests.tiny import END

PROMPT, TEXT, N = "The cat sat on the mat.", "One dog ran to the", 3
COLUMNS = ["token_id", "token", "prob", "continuation", "names_token", "names_next"]


def by_hook(
    plain: Plain, ids: Tensor, n: int, layer: int = 0, at: int = 0, state: Tensor | None = None
) -> list[tuple[int, float]]:
    """(token id, probability) a step, each from a whole run, no cache, the state put in by a hook
    of its own."""

    def put(value: Tensor) -> Tensor:
        assert state is not None
        rows = value.clone()
        rows[0, at] = state
        return rows

    def enter(module: Any, args: Any) -> Any:
        return (put(args[0]), *args[1:])

    def leave(module: Any, args: Any, output: Any) -> Any:
        return (put(output[0]), *output[1:]) if isinstance(output, tuple) else put(output)

    hook = None
    if state is not None and layer == 0:
        hook = plain.blocks[0].register_forward_pre_hook(enter)
    elif state is not None:
        hook = plain.blocks[layer - 1].register_forward_hook(leave)
    wrote = []
    try:
        for _ in range(n):
            with torch.no_grad():
                logits = plain.network(input_ids=ids[None], use_cache=False).logits[0, -1].double()
            probs = logits.softmax(dim=-1)
            wrote.append((int(probs.argmax()), float(probs.max())))
            ids = torch.cat([ids, probs.argmax()[None]])
            if wrote[-1][0] == END:
                break
    finally:
        if hook is not None:
            hook.remove()
    return wrote


@pytest.mark.parametrize(
    ("name", "at", "into"),
    [
        *(("llama", None, None), ("gpt2", 1, 2), ("gemma2", 1, 2), ("granite", None, None)),
        *(("bloom", None, None), ("opt", None, 1), ("phi", 0, 2), ("falcon-7b", 2, 0)),
    ],
)
def test_each_row_is_what_a_hook_makes_of_it(
    tiny: Callable[[str], Model],
    twin: Callable[[str], Plain],
    name: str,
    at: int | None,
    into: int | None,
) -> None:
    model, plain = tiny(name), twin(name)
    ids, read_in = model.encode(PROMPT), model.encode(TEXT)
    hidden = plain.run(ids).hidden
    frame = read_elsewhere(model, PROMPT, 2, TEXT, at, into, N)
    control_columns = [f"control_{each}" for each in COLUMNS]
    assert list(frame) == ["layer", "step", *COLUMNS, *control_columns, "next_token"]
    assert frame["layer"].drop_duplicates().tolist() == list(range(model.n_layers + 1))
    control = by_hook(plain, read_in, N)
    texts = set()
    for layer, rows in frame.groupby("layer"):
        place = layer if into is None else into
        where = len(read_in) - 1 if at is None else at
        wanted = by_hook(plain, read_in, N, place, where, hidden[layer, 2])
        assert rows["token_id"].tolist() == [token_id for token_id, _ in wanted], layer
        np.testing.assert_allclose(rows["prob"], [prob for _, prob in wanted], atol=1e-4)
        without = control[: len(rows)]  # missing after its end
        assert rows["control_token_id"].dropna().tolist() == [token_id for token_id, _ in without]
        chances = rows["control_prob"].dropna()
        np.testing.assert_allclose(chances, [prob for _, prob in without], atol=1e-4)
        whole = model.tokenizer.decode([token_id for token_id, _ in wanted])
        assert set(rows["continuation"]) == {whole}
        texts.add(rows["continuation"].iloc[0])
    assert len(texts) > 1 or into is not None, "all layers say the same: nothing was put in"


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_the_script_prints_the_same(
    tiny: Callable[[str], Model], tiny_folder: Callable[[str], Path], name: str
) -> None:
    model = tiny(name)
    told = {"position": 2, "at": 1, "into": None, "n_tokens": N}
    code = script(
        str(tiny_folder(name)),
        None,
        PROMPT,
        other=TEXT,
        target_ids=[],
        blocks=model.blocks_path,
        within=[],
        elsewhere={**told, "layers": source_layers(model.n_layers)},
    )
    assert "strata" not in code.replace(str(tiny_folder(name)), "")
    ran: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, "script.py", "exec"), ran)
    frame = read_elsewhere(model, PROMPT, 2, TEXT, 1, None, N)
    found = [each for _, wrote in ran["rows"] for each in wrote]
    assert [token_id for token_id, _ in found] == frame["token_id"].tolist()
    np.testing.assert_allclose([prob for _, prob in found], frame["prob"], atol=1e-4)
    assert [i for i, _ in ran["control"]] == frame["control_token_id"].tolist()[:N]
    assert printed.getvalue().startswith("without a state put in: ")


def test_on_the_bundled_model_low_layers_name_the_token(model: Model) -> None:
    """The state of “ France” at layer 0 is that word, and at the last layer what comes after it."""
    frame = by_layer(read_elsewhere(model, "The capital of France is", 3)).set_index("layer")
    assert frame.index.tolist() == list(range(0, 31, 2))
    assert frame["continuation"][0] == " -> France;\n"
    assert frame["names_token"][0]
    assert not frame["names_token"][30]
    assert not frame["control_names_token"].any()
    swapped = model.generate(REPEAT.replace("?", "France"), 4)
    assert frame["continuation"][0] == swapped, "layer 0: as if the word stood there"
    assert set(frame["next_token"]) == {" is"}
    with pytest.raises(InputError, match="at most 64 tokens, and this one has 81: use a shorter"):
        read_elsewhere(model, "France", 0, "a b " * 40)


def test_what_names_a_token() -> None:
    assert names(" -> France;\n", " France")
    assert not names(" -> Frances", " France")
    assert not names(" -> france", " France")
    assert names("it is 5", "5")
    assert not names("it is 55", "5")
    assert names("a, b", ",")
    assert not names("a b", " ")


def made(named: list[bool], *, control: tuple[bool, bool], same: int = 0) -> pd.DataFrame:
    """A row a layer, 0, 2 and so on; the first `same` layers say what the control says."""
    rows = [
        {
            "layer": 2 * i,
            "step": 1,
            "token": " x",
            "prob": 0.5,
            "next_token": " Paris",
            "names_token": each,
            "names_next": False,
            "control_prob": 0.25,
            "continuation": " hm" if i < same else " x;",
            "control_continuation": " hm",
            "control_names_token": control[0],
            "control_names_next": control[1],
            "control_token": " hm",
        }
        for i, each in enumerate(named)
    ]
    return pd.DataFrame(rows)


def test_what_is_said_of_it() -> None:
    at = "“␣France” (position 3)"
    said = elsewhere_words.elsewhere_reading(
        made([True, False, True, False], control=(False, False)), at, "?"
    )
    assert said == (
        "With the state of “␣France” (position 3) in the place of “?”, the text goes on to name "
        "that token from 2 of 4 layers (0 to 4, not all of them), and “␣Paris”, A's own next "
        "token, from none of 4 layers. Without it, it goes on “␣hm”, which names neither. To name "
        "is to write the same word, whole."
    )
    said = elsewhere_words.elsewhere_reading(
        made([True, True, False, False], control=(True, False), same=1), at, "?"
    )
    assert "from 2 of 4 layers (0 to 2), and" in said
    assert "so naming that says nothing here. From 1 of 4 layers it goes on just so." in said
    said = elsewhere_words.elsewhere_reading(made([False, True], control=(False, True)), at, "?")
    assert "from 1 of 2 layers (2), and" in said
    assert "which names A's next token, so" in said
    assert elsewhere_words.elsewhere_cell_reading(made([True], control=(True, True)), 0, 9) == (
        "The state of layer 0 makes it go on “␣x;”; step 1 writes “␣x” (50%), and without the "
        "state “␣hm” (25%)."
    )


def test_layers_are_few() -> None:
    assert source_layers(4) == [0, 1, 2, 3, 4]
    assert source_layers(30) == list(range(0, 31, 2))
    for n_layers in (1, 16, 17, 33, 80, 126):
        layers = source_layers(n_layers)
        assert layers[0] == 0
        assert layers[-1] == n_layers
        assert len(layers) <= 18


def test_how_far_it_is_names_the_layer(tiny: Callable[[str], Model]) -> None:
    model, told = tiny("llama"), []
    asked: dict[str, Any] = {"position": 2, "n_tokens": 2}
    read_elsewhere(
        model, PROMPT, text=TEXT, progress=lambda share, said: told.append((share, said)), **asked
    )
    first, *_, (done, last) = told
    assert first[1] == "No state put in: token 1 of 2"
    assert last.startswith(f"State of layer {model.n_layers}: token ")
    assert [share for share, _ in told] == sorted(share for share, _ in told)
    assert done == pytest.approx(1)


def test_bad_input_is_told_before_the_model_runs(
    tiny: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    llama, ran = tiny("llama"), []
    once = llama.forward
    monkeypatch.setattr(llama, "forward", lambda *args: ran.append(1) or once(*args))
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"text": ""}, "empty"),
        ({"position": 99}, "Position 99 does not exist"),
        ({"at": 99}, "Position 99 does not exist in that text"),
        ({"at": -1}, "Position -1 does not exist in that text"),
        ({"into": 99}, "Layer 99 does not exist"),
        ({"n_tokens": 13}, "from 1 to 12"),
    ]
    for params, said in wrong:
        with pytest.raises(InputError, match=said) as raised:
            read_elsewhere(llama, PROMPT, **{"position": 2, "text": TEXT, **params})
        assert str(raised.value).endswith(".")
    monkeypatch.setattr(llama, "lens_refusal", "The head is not the model's.")
    with pytest.raises(ModelError, match="not the model's"):
        read_elsewhere(llama, PROMPT, 2, TEXT)
    assert ran == []
