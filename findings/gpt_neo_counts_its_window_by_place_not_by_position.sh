#!/usr/bin/env bash
# transformers 5.24.0: two continuations of one text run in one row, by a mask of four dimensions that
# lets neither see the other, and by position ids that go on from the text for both (as in tree
# attention, or where many edited runs share the keys before the edit).
# Expected: each continuation gets the logits that it gets in a row of its own, as with Mistral, whose
# window is part of the mask. Seen with GPT-Neo: the first continuation does; the second is off by as
# much as logits are large. Its local layers lay a window of their own over the mask, and count it by
# places in the row and not by position ids: the keys that lie before the first continuation are out of
# reach. No error is raised. Source: modeling_gpt_neo.py (the buffer `bias`, cut by lengths of queries
# and keys), masking_utils.py.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q transformers==5.24.0 "torch==2.13.*" numpy
HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error "$folder/venv/bin/python" - <<'PY'
import torch
from transformers import (
    GPTNeoConfig, GPTNeoForCausalLM, MistralConfig, MistralForCausalLM, __version__,
)

WINDOW, TEXT, MORE = 4, 8, 3
torch.manual_seed(0)
same = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_heads": 4,
        "max_position_embeddings": 64, "bos_token_id": 0, "eos_token_id": 0}
neo = GPTNeoConfig(
    **same, num_layers=2, attention_types=[[["local"], 2]], window_size=WINDOW
)
same["num_attention_heads"] = same["num_key_value_heads"] = same.pop("num_heads")
mistral = MistralConfig(**same, num_hidden_layers=2, sliding_window=WINDOW)
ids = torch.randint(1, 64, (TEXT + 2 * MORE,))
positions = torch.tensor([*range(TEXT + MORE), *range(TEXT, TEXT + MORE)])
of = torch.tensor([0] * TEXT + [1] * MORE + [2] * MORE)
back = positions[:, None] - positions[None]
sees = ((of[None] == 0) | (of[None] == of[:, None])) & (0 <= back) & (back < WINDOW)
mask = torch.where(sees, 0.0, torch.finfo(torch.float32).min)[None, None]
off = {}
for name, model in (("Mistral", MistralForCausalLM(mistral)), ("GPT-Neo", GPTNeoForCausalLM(neo))):
    model.eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.3)
    with torch.inference_mode():
        both = model(input_ids=ids[None], attention_mask=mask, position_ids=positions[None]).logits[0]
        for each, last in ((1, TEXT + MORE - 1), (2, TEXT + 2 * MORE - 1)):
            alone = model(input_ids=ids[(of == 0) | (of == each)][None]).logits[0, -1]
            off[name, each] = float((both[last] - alone).abs().max())
print(f"transformers {__version__}: off by", {key: f"{value:.2g}" for key, value in off.items()})
assert max(off["Mistral", 1], off["Mistral", 2], off["GPT-Neo", 1]) < 1e-4, "the behaviour has changed"
assert off["GPT-Neo", 2] > 0.1, "the behaviour has changed"
PY
