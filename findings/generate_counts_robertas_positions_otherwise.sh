#!/usr/bin/env bash
# transformers 5.24.0: a RoBERTa decoder numbers positions from the padding id on (2 for the first
# token) when it is called, and `generate` tells it to number them from 0. Expected: the first step of
# `generate` has the logits of a plain call at the last position. Seen: other logits, so greedy text
# by `generate` is not what the model's own logits say. Source: modeling_roberta.py
# (create_position_ids_from_input_ids) and generation/utils.py (position_ids from the attention mask).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q transformers==5.24.0 "torch==2.13.*" numpy
HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error "$folder/venv/bin/python" - <<'PY'
import torch
from transformers import RobertaConfig, RobertaForCausalLM, __version__

torch.manual_seed(0)
config = RobertaConfig(
    vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
    intermediate_size=48, max_position_embeddings=40, is_decoder=True, bos_token_id=0,
)
model = RobertaForCausalLM(config).eval()
ids = torch.tensor([[5, 9, 17, 33]])
with torch.inference_mode():
    plain = model(ids).logits[0, -1]
    counted = model(ids, position_ids=torch.arange(4)[None]).logits[0, -1]
    made = model.generate(
        ids, max_new_tokens=1, do_sample=False, output_logits=True, return_dict_in_generate=True,
        pad_token_id=1,
    ).logits[0][0]
to_plain, to_zero = float((made - plain).abs().max()), float((made - counted).abs().max())
print(f"transformers {__version__}: generate is {to_plain:.2g} from a plain call, {to_zero:.2g} from one that counts from 0")
assert to_plain > 1e-3 and to_zero < 1e-5, "the behaviour has changed"
PY
