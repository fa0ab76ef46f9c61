#!/usr/bin/env bash
# transformers 5.24.0: AutoTokenizer, given a folder whose config.json says qwen2, takes vocabulary and
# merges from its tokenizer.json and splits texts by the rule of its own class, whatever rule the file
# holds. Expected: a tokenizer.json is a whole tokenizer, so that AutoTokenizer and
# PreTrainedTokenizerFast read the same one. Seen: digits that the file keeps together come apart.
# So a folder of another rule under that type (as conversions from other formats write) gets other
# token ids, without a word. Source: tokenization_qwen2.py, which builds its pre-tokenizer itself.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q transformers==5.24.0
HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error "$folder/venv/bin/python" - "$folder/model" <<'PY'
import sys

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen2Config, __version__

folder = sys.argv[1]
names = sorted(pre_tokenizers.ByteLevel.alphabet())
vocabulary = {name: i for i, name in enumerate([*names, "12", "<|endoftext|>"])}
core = Tokenizer(models.BPE(vocabulary, [("1", "2")]))
core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # GPT-2's rule: 12 is a word
core.decoder = decoders.ByteLevel()
PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|endoftext|>").save_pretrained(folder)
Qwen2Config(vocab_size=len(vocabulary)).save_pretrained(folder)
file = PreTrainedTokenizerFast.from_pretrained(folder).tokenize("12")
auto = AutoTokenizer.from_pretrained(folder)
seen = auto.tokenize("12")
print(f"transformers {__version__}: the file says {file}, {type(auto).__name__} says {seen}")
assert file == ["12"]
assert seen == ["1", "2"], "the behaviour has changed"
PY
