"""Loading: what is read, what is never read, and one sentence for whatever is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from strata.errors import ModelError
from strata.model import load_model
from tests import gguf_files
from tests import tiny as tiny_models
from tests.plain import Plain
from tests.tiny import PROMPT


def test_only_safetensors_are_read(tmp_path: Path) -> None:
    network = tiny_models.build("gpt2")
    tiny_models.write(network, tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(network.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="safetensors") as refusal:
        load_model(str(tmp_path))
    assert "\n" not in str(refusal.value)


def test_code_in_a_folder_is_never_run(tmp_path: Path) -> None:
    tiny_models.save("gpt2", tmp_path)
    sentinel = tmp_path / "it-ran"
    (tmp_path / "evil.py").write_text(f"open({str(sentinel)!r}, 'w')\n")
    config = json.loads((tmp_path / "config.json").read_text())
    auto_map = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
    for family in ("gpt2", "evil"):
        config |= {"model_type": family, "auto_map": auto_map}
        (tmp_path / "config.json").write_text(json.dumps(config))
        if family == "gpt2":
            load_model(str(tmp_path))  # by transformers' own code
        else:
            with pytest.raises(ModelError) as refusal:
                load_model(str(tmp_path))
            assert "\n" not in str(refusal.value)
        assert not sentinel.exists()


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("model.safetensors", b"not a tensor in it"),
        ("config.json", b"{"),
        ("tokenizer.json", b"[]"),
        ("tokenizer.json", None),
    ],
)
def test_a_damaged_folder_is_one_sentence(file: str, content: bytes | None, tmp_path: Path) -> None:
    """The sentence names what is damaged, and is a whole one."""
    tiny_models.save("gpt2", tmp_path)
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(ModelError, match=file.removesuffix(".json").split(".")[-1]) as refusal:
        load_model(str(tmp_path))
    assert re.fullmatch(r"[^\n]+[.!]", str(refusal.value)), refusal.value


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    for name in ("no-such-model", str(tmp_path), str(tmp_path / "missing.gguf"), ""):
        with pytest.raises(ModelError) as refusal:
            load_model(name)
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("dtype", ["float31", "int8", "nn"])
def test_a_dtype_that_is_none_is_refused(dtype: str, tiny_folder: Callable[[str], Path]) -> None:
    with pytest.raises(ModelError, match=dtype):
        load_model(str(tiny_folder("gpt2")), dtype=dtype)


def test_a_missing_weight_is_refused(tmp_path: Path) -> None:
    """transformers would fill it with random numbers and go on."""
    network = tiny_models.build("llama")
    state = network.state_dict()
    del state["model.layers.1.mlp.up_proj.weight"]
    network.save_pretrained(tmp_path, state_dict=state)
    tiny_models.tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError):
        load_model(str(tmp_path))


def test_a_gguf_file_is_converted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRATA_HOME", str(tmp_path / "home"))
    network = tiny_models.build("qwen2", use_sliding_window=False)
    gguf_files.write(network, tmp_path / "tiny.gguf", "qwen2", pre="qwen2")
    model = load_model(str(tmp_path / "tiny.gguf"), device="cpu")
    trace = model.capture(PROMPT)
    assert model.check.ok, model.check
    assert trace.token_ids.tolist() == tiny_models.tokenizer()(PROMPT).input_ids
    assert "".join(trace.tokens) == PROMPT
    assert torch.equal(trace.logits, Plain(network).run(trace.token_ids).logits)

    monkeypatch.setattr(
        "strata.model.load.convert_gguf", None
    )  # would fail if it were called again
    again = load_model(str(tmp_path / "tiny.gguf"), device="cpu")
    assert torch.equal(again.capture(PROMPT).hidden, trace.hidden)


def test_a_gguf_file_keeps_its_own_rule_whatever_its_family_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers has one for Qwen 2; this file's leaves the spaces before a digit together."""
    monkeypatch.setenv("STRATA_HOME", str(tmp_path / "home"))
    network = tiny_models.build("qwen2", use_sliding_window=False)
    path = gguf_files.write(network, tmp_path / "tiny.gguf", "qwen2", pre="smollm")
    model = load_model(str(path), device="cpu")
    words = model.tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str("a  12")
    assert [word for word, _ in words] == ["a", "ĠĠ", "1", "2"]


def changed(folder: Path, **values: Any) -> Path:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))
    return folder


def test_a_folder_that_asks_for_tuples_is_served(tmp_path: Path) -> None:
    """`return_dict` off makes transformers' outputs tuples."""
    folder = changed(tiny_models.save("llama", tmp_path), return_dict=False)
    model = load_model(str(folder), device="cpu")
    assert model.check.ok
    expected = Plain(tiny_models.build("llama")).run(model.encode(PROMPT)).logits
    assert torch.equal(model.capture(PROMPT).logits, expected)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"hidden_size": 48, "head_dim": 12}, "weights"),
        ({"hidden_act": "no such function"}, "weights|config"),
        ({"model_type": "t5"}, "t5"),
        ({"model_type": "reformer"}, "reversible"),
        ({"rope_parameters": {"rope_type": "no such rotation"}}, "weights|config"),
    ],
)
def test_a_config_that_does_not_fit_is_one_sentence(
    values: dict[str, Any], said: str, tmp_path: Path
) -> None:
    folder = changed(tiny_models.save("llama", tmp_path), **values)
    with pytest.raises(ModelError, match=said) as refusal:
        load_model(str(folder), device="cpu")
    assert re.fullmatch(r"[A-Z][^\n]+[.]", str(refusal.value)), refusal.value


@pytest.mark.parametrize(
    "failure",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (17x16 and 32x300)"),
        AttributeError("'tuple' object has no attribute 'last_hidden_state'"),
        KeyError("full_attention"),
        ImportError("No module named 'kernels'", name="kernels"),
    ],
)
def test_no_words_of_torch_or_python_reach_a_learner(
    failure: Exception, tiny_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: Any, **more: Any) -> None:
        raise failure

    monkeypatch.setattr("transformers.LlamaForCausalLM.forward", fail)
    with pytest.raises(ModelError) as refusal:
        load_model(str(tiny_folder("llama")), device="cpu")
    said = str(refusal.value)
    assert re.fullmatch(r"[^\n]+[.]", said)
    assert "kernels" in said if isinstance(failure, ImportError) else str(failure) not in said
