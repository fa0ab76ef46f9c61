#!/usr/bin/env bash
# transformers 5.24.0: a model whose positions rotate by "longrope" chooses between its short and its
# long factors once a batch, by the largest position in it. Expected: with an attention mask each row
# of a batch has the logits that it has alone, to rounding. Seen: a text of 10 tokens has them beside
# one of 16, and others beside one of 30, where the model's original length is 16: off by as much as
# logits are large. So what a prompt gives depends on who else is served in the same moment, and a
# sweep over prompts on how they were batched. Source: modeling_rope_utils.py
# (longrope_frequency_update, which takes the largest of all position ids).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q transformers==5.24.0 "torch==2.13.*" numpy
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - <<'PY'
import torch
from transformers import LlamaConfig, LlamaForCausalLM, __version__

torch.manual_seed(0)
rotation = {"rope_type": "longrope", "rope_theta": 10_000.0, "factor": 4.0}
rotation |= {"short_factor": [1.0] * 4, "long_factor": [8.0] * 4}
rotation |= {"original_max_position_embeddings": 16}
config = LlamaConfig(
    hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, vocab_size=100, max_position_embeddings=64, pad_token_id=0,
    initializer_range=0.3, rope_parameters=rotation,
)
model = LlamaForCausalLM(config).eval().double()
short, other = torch.randint(1, 100, (10,)), torch.randint(1, 100, (30,))


def beside(length):
    ids = torch.stack([torch.nn.functional.pad(short, (0, length - 10)), other[:length]])
    mask = torch.ones_like(ids)
    mask[0, 10:] = 0
    return model(ids, attention_mask=mask).logits[0, :10]


with torch.inference_mode():
    alone = model(short[None]).logits[0]
    off = {length: float((beside(length) - alone).abs().max()) for length in (16, 30)}
print(f"transformers {__version__}: logits up to {alone.abs().max():.1f}, off beside a text of:", off)
assert off[16] < 1e-9 and off[30] > 0.1, "the behaviour has changed"
PY
