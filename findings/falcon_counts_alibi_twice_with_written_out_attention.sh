#!/usr/bin/env bash
# transformers 5.24.0: Falcon with `alibi=True` and `attn_implementation="eager"`, which is also what
# `output_attentions=True` needs. Expected: the same logits as with the default attention, since both
# write out one formula. Seen: the bias by distance is in the mask that both are given, and the eager
# way adds it once more; the default way agrees with it as soon as its own bias is doubled. So weights
# that are read off this family are not those of the run that gave the logits. Source:
# modeling_falcon.py, FalconModel.forward and FalconAttention.forward.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q transformers==5.24.0 "torch==2.13.*" numpy
HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error "$folder/venv/bin/python" - <<'PY'
import torch
from transformers import FalconConfig, FalconForCausalLM, __version__
from transformers.models.falcon import modeling_falcon

def config():
    """One of its own for each model: a model notes its attention there."""
    return FalconConfig(
        vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, alibi=True,
        multi_query=False, parallel_attn=False, bias=True,
    )


torch.manual_seed(0)
default = FalconForCausalLM(config()).eval()
with torch.no_grad():
    for parameter in default.parameters():
        if parameter.dim() > 1:
            parameter.normal_(std=0.3)
eager = FalconForCausalLM._from_config(config(), attn_implementation="eager").eval()
eager.load_state_dict(default.state_dict())
ids = torch.randint(1, 64, (1, 12))
with torch.inference_mode():
    written_out, usual = eager(ids).logits, default(ids).logits
    once = modeling_falcon.build_alibi_tensor
    modeling_falcon.build_alibi_tensor = lambda *given, **named: 2 * once(*given, **named)
    doubled = default(ids).logits
apart, as_doubled = (float((written_out - each).abs().max()) for each in (usual, doubled))
size = float(usual.abs().max())
print(f"transformers {__version__}: eager is {apart:.2g} off, of logits up to {size:.2g}; "
      f"from a doubled bias {as_doubled:.1g}")
assert apart > 0.01 * size and as_doubled < 1e-4 * size, "the behaviour has changed"
PY
