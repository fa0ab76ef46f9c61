#!/usr/bin/env bash
# transformers 5.24.0: a Moshi language model with a `sliding_window` that is shorter than the text.
# Expected: the window holds for every run, so that with a KV cache the logits of the next token are
# those of a run of the whole text. Seen: a run of the whole text attends to all of it, one with a
# cache to the window only; beyond the window they differ by as much as logits are large, so `generate`
# does not write what a plain run says. Source: modeling_moshi.py, cache_utils.py.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q transformers==5.24.0 "torch==2.13.*" numpy
HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error "$folder/venv/bin/python" - <<'PY'
import torch
from transformers import MoshiConfig, MoshiForCausalLM, __version__

WINDOW, LENGTH = 12, 20
torch.manual_seed(0)
config = MoshiConfig(
    vocab_size=64, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, head_dim=8,
    ffn_dim=64, max_position_embeddings=64, sliding_window=WINDOW,
)
model = MoshiForCausalLM(config).eval()
with torch.no_grad():
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.normal_(std=0.3)
ids = torch.randint(1, 64, (1, LENGTH))
apart = []
with torch.inference_mode():
    past = None
    for t in range(LENGTH):
        told = model(input_ids=ids[:, t : t + 1], past_key_values=past, use_cache=True)
        past = told.past_key_values
        whole = model(input_ids=ids[:, : t + 1], use_cache=False).logits[0, -1]
        apart.append(float((told.logits[0, -1] - whole).abs().max()))
within, beyond = max(apart[:WINDOW]), max(apart[WINDOW:])
print(f"transformers {__version__}: within the window off by {within:.2g}, beyond it by {beyond:.2g}")
print("by position:", " ".join(f"{error:.1g}" for error in apart))
first = ids.clone()
first[0, 0] = (first[0, 0] + 1) % 64
with torch.inference_mode():
    moved = model(input_ids=ids).logits[0, -1] - model(input_ids=first).logits[0, -1]
print(f"a whole run hears of a first token {LENGTH - WINDOW} before the window: {float(moved.abs().max()):.2g}")
assert within < 1e-3 < 0.1 < beyond, "the behaviour has changed"
PY
