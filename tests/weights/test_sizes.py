"""A model's size is read from the headers of its files, before anything is loaded."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as torch_file

from strata.errors import ModelError
from strata.weights.sizes import count_parameters


def test_gguf_counts_every_tensor_whatever_its_metadata(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_token_list(["<s>", "Ġhello", "ö"])
    writer.add_token_scores([0.0, 1.5, 2.5])
    writer.add_bool("flag", True)
    writer.add_array("nested", [[1, 2], [3]])
    writer.add_tensor("a", np.zeros((3, 5), dtype=np.float32))
    packed = gguf.quants.quantize(
        np.zeros((4, 64), dtype=np.float32), gguf.GGMLQuantizationType.Q4_1
    )
    writer.add_tensor("b", packed, raw_dtype=gguf.GGMLQuantizationType.Q4_1)
    writer.add_tensor("c", np.zeros(7, dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert count_parameters(path) == 3 * 5 + 4 * 64 + 7


def test_folder_counts_every_shard(tmp_path: Path) -> None:
    first = {"a": np.zeros((3, 5), dtype=np.float32), "scalar": np.array(1.0, dtype=np.float32)}
    save_file(first, tmp_path / "model-1.safetensors", metadata={"format": "pt"})
    save_file({"b": np.zeros(7, dtype=np.float16)}, tmp_path / "model-2.safetensors")
    assert count_parameters(tmp_path) == 15 + 1 + 7


def test_the_same_weights_in_another_format_count_once(tmp_path: Path) -> None:
    """As Mistral's folders have them."""
    shards = {"a": np.zeros((3, 5), dtype=np.float32)}, {"b": np.zeros(7, dtype=np.float16)}
    for number, tensors in enumerate(shards, 1):
        save_file(tensors, tmp_path / f"model-0000{number}-of-00002.safetensors")
    save_file(shards[0] | shards[1], tmp_path / "consolidated.safetensors")
    names = {name: f"model-0000{n}-of-00002.safetensors" for n, name in ((1, "a"), (2, "b"))}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": names}))
    assert count_parameters(tmp_path) == 15 + 7
    index.unlink()
    save_file(shards[0], tmp_path / "model.safetensors")
    assert count_parameters(tmp_path) == 15


@pytest.mark.parametrize(
    ("told", "dtype", "packed"),
    [
        ({"quant_method": "gptq", "bits": 4}, np.int32, 8),
        ({"quant_method": "gptq", "bits": 8}, np.int32, 4),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, np.uint8, 2),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, np.int8, 1),
        ({"quant_method": "mxfp4"}, np.uint8, 2),
        ({"config_groups": {"group_0": {"weights": {"num_bits": 4}}}}, np.int32, 8),
        (None, np.int32, 1),
    ],
)
def test_packed_weights_count_each(
    tmp_path: Path, told: dict[str, object] | None, dtype: type, packed: int
) -> None:
    config = {} if told is None else {"quantization_config": told}
    (tmp_path / "config.json").write_text(json.dumps(config))
    tensors = {"q": np.zeros((4, 6), dtype=dtype), "norm": np.zeros(5, dtype=np.float16)}
    save_file(tensors, tmp_path / "model.safetensors")
    assert count_parameters(tmp_path) == 24 * packed + 5


def test_numbers_that_numpy_has_no_type_for_are_counted(tmp_path: Path) -> None:
    half, eighth = (
        torch.zeros(3, 5, dtype=torch.bfloat16),
        torch.zeros(2, dtype=torch.float8_e4m3fn),
    )
    torch_file({"a": half, "b": eighth}, tmp_path / "model.safetensors")
    assert count_parameters(tmp_path) == 15 + 2


def test_a_file_cut_short_behind_its_header_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": np.zeros((3, 5), dtype=np.float32)}, path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelError, match="cut short"):
        count_parameters(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"GGUF", b"PK" + bytes(60), b"GGUF\3\0\0\0" + b"\xff" * 64]
)
def test_file_that_is_no_gguf_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"broken.gguf is not a GGUF file, or is cut short"):
        count_parameters(path)


@pytest.mark.parametrize(
    "content", [b"", b"PK" + bytes(60), b"\5\0\0\0\0\0\0\0[1,2]", b"\xff" * 64]
)
def test_file_that_is_no_safetensors_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=r"is not a safetensors file, or is cut short"):
        count_parameters(tmp_path)
