#!/usr/bin/env bash
# transformers 5.24.0 reads vocabulary and merges of a .gguf file and not `tokenizer.ggml.pre`, the key
# that names how texts are split before merging: every byte-level tokenizer gets GPT-2's rule.
# Expected: "smollm" splits each digit alone, as llama.cpp does with the same file, so that "12" is two
# tokens whatever the merges are. Seen: one token. So the model reads other ids than it was trained
# on, and weights, shapes and special tokens are all as they should be.
# Source: integrations/ggml.py (GGUFGPTConverter) and modeling_gguf_pytorch_utils.py.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q transformers==5.24.0 gguf==0.19.0 "torch==2.13.*" numpy
HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error "$folder/venv/bin/python" - "$folder" <<'PY'
import sys

import gguf
import numpy as np
from tokenizers import pre_tokenizers
from transformers import AutoTokenizer, __version__

folder = sys.argv[1]
tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "12", "<|endoftext|>"]
writer = gguf.GGUFWriter(f"{folder}/tiny.gguf", "llama")
writer.add_context_length(64)
writer.add_embedding_length(8)
writer.add_block_count(1)
writer.add_feed_forward_length(16)
writer.add_head_count(2)
writer.add_layer_norm_rms_eps(1e-5)
writer.add_tokenizer_model("gpt2")
writer.add_tokenizer_pre("smollm")
writer.add_token_list(tokens)
writer.add_token_types([1] * (len(tokens) - 1) + [3])
writer.add_token_merges(["1 2"])
for name in ("bos", "eos", "unk"):
    getattr(writer, f"add_{name}_token_id")(len(tokens) - 1)
writer.add_tensor("token_embd.weight", np.zeros((len(tokens), 8), np.float32))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
seen = AutoTokenizer.from_pretrained(folder, gguf_file="tiny.gguf").tokenize("12")
print(f"transformers {__version__}: a file of the rule smollm, which is ['1', '2'], gives {seen}")
assert seen == ["12"], "the behaviour has changed"
PY
