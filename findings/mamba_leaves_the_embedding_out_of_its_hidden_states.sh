#!/usr/bin/env bash
# transformers 5.24.0: `output_hidden_states=True` on Mamba, Mamba-2, FalconMamba and RWKV. Expected, as
# modeling_outputs.py documents the list (the embeddings first, then one a layer) and as in other
# families: entry 0 is what the first block reads, entry i what block i reads.
# Seen: L + 1 entries too, but what the first block reads is in none of them; entry i is what block i
# writes, so all are one block late, and the last two are the last block's state before and after the
# final norm. A curve by layer is shifted by one, and whoever scales "the embedding" scales block 0.
# Source: modeling_mamba.py and its kin, which append after the block instead of before.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q transformers==5.24.0 "torch==2.13.*" numpy
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import torch
import transformers

FAMILIES = {
    "Mamba": {},
    "FalconMamba": {},
    "Mamba2": {"num_heads": 8, "head_dim": 8, "n_groups": 2, "state_size": 16},
    "Rwkv": {"attention_hidden_size": 32, "context_length": 64},
}
transformers.logging.set_verbosity_error()
ids = torch.randint(1, 100, (1, 10))
for family, more in FAMILIES.items():
    config = getattr(transformers, f"{family}Config")
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 3, "vocab_size": 100}
    model = getattr(transformers, f"{family}ForCausalLM")(config(**shape, **more)).eval()
    body = model.rwkv if family == "Rwkv" else model.backbone
    blocks = body.blocks if family == "Rwkv" else body.layers
    read, norm = [], body.ln_out if family == "Rwkv" else body.norm_f
    for block in (*blocks, norm):
        block.register_forward_pre_hook(lambda _, given: read.append(given[0].clone()))
    with torch.inference_mode():
        states = model(ids, output_hidden_states=True, use_cache=False).hidden_states
    where = [[i for i, state in enumerate(states) if torch.equal(state, each)] for each in read]
    print(f"transformers {transformers.__version__}, {family}: {len(states)} entries for 3 blocks;")
    with torch.inference_mode():
        normed = norm(states[2])
    print(f"  what blocks 0, 1, 2 and the norm read is entry {where}")
    assert len(states) == 4 and where == [[], [0], [1], [2]], "the behaviour has changed"
    assert torch.equal(states[3], normed), "the behaviour has changed"
PY
