#!/usr/bin/env bash
# TransformerLens 4.3.0: of a BLOOM model with `apply_residual_connection_post_layernorm`, where each
# part is added to the normed state, `enable_compatibility_mode()` gives other log-probabilities, and
# says nothing. Expected, as the docstring of `boot_transformers` has it: "Generation, argmax, and CE
# loss are unaffected"; with the flag off they agree to 1e-6. Seen: log-probabilities off by more than
# 0.1. The norm's weight is folded into the parts that read the norm, and here the residual reads it
# as well (with fold_ln=False they agree).
# Source: weight_processing.py (fold_layer_norm), transformers' modeling_bloom.py (BloomBlock.forward).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q transformer-lens==4.3.0 transformers==5.24.0 "torch==2.13.*"
HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error "$folder/venv/bin/python" - "$folder/model" <<'PY'
import copy
import sys
from importlib.metadata import version

import torch
from tokenizers import Tokenizer, models
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoTokenizer, BloomConfig, BloomForCausalLM, PreTrainedTokenizerFast

path = sys.argv[1]
words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(64)}, unk_token="w0"))
PreTrainedTokenizerFast(
    tokenizer_object=words, bos_token="w1", eos_token="w2", pad_token="w3"
).save_pretrained(path)
ids = torch.tensor([[5, 9, 17, 33, 8, 21]])


def off(after_the_norm):
    torch.manual_seed(0)
    config = BloomConfig(
        vocab_size=64, hidden_size=32, n_layer=2, n_head=4,
        apply_residual_connection_post_layernorm=after_the_norm,
    )
    model = BloomForCausalLM(config).eval()
    config.architectures = ["BloomForCausalLM"]
    with torch.no_grad():
        for parameter in model.parameters():  # norms and biases of a trained model are not 1 and 0
            parameter.add_(0.3 * torch.randn(parameter.shape))
        wanted = model(ids).logits.log_softmax(-1)
    bridge = TransformerBridge.boot_transformers(
        path, hf_model=copy.deepcopy(model), tokenizer=AutoTokenizer.from_pretrained(path), device="cpu"
    )
    with torch.no_grad():
        plain = float((bridge(ids).log_softmax(-1) - wanted).abs().max())
        bridge.enable_compatibility_mode()
        return plain, float((bridge(ids).log_softmax(-1) - wanted).abs().max())


usual, after = off(False), off(True)
print(f"transformer-lens {version('transformer-lens')}: log-probabilities are off by {usual[0]:.2g}, in compatibility mode {usual[1]:.2g};")
print(f"where parts are added to the normed state by {after[0]:.2g}, in compatibility mode {after[1]:.2g}")
assert max(*usual, after[0]) < 1e-4 and after[1] > 0.1, "the behaviour has changed"
PY
