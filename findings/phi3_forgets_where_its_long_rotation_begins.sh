#!/usr/bin/env bash
# transformers 5.24.0: Phi3Config has `original_max_position_embeddings` (4,096) of its own, which
# takes the place of the one given inside of `rope_parameters`. Expected: what a configuration says of
# its rotation is what it rotates by. Seen: 32 goes in, 4,096 comes out, so the factors for long texts
# are taken from position 4,096 on instead of 32, and no warning says so.
# Source: modeling_rope_utils.py, which copies the attribute over the parameter.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q transformers==5.24.0 "torch==2.13.*" numpy
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - <<'PY'
from transformers import Phi3Config, __version__

rotation = {"rope_type": "longrope", "rope_theta": 10_000.0}
rotation |= {"short_factor": [1.0] * 4, "long_factor": [8.0] * 4}
shape = {"hidden_size": 32, "num_attention_heads": 4, "max_position_embeddings": 128}
inside = Phi3Config(**shape, rope_parameters={**rotation, "original_max_position_embeddings": 32})
beside = Phi3Config(**shape, rope_parameters=rotation, original_max_position_embeddings=32)
seen = [each.rope_parameters["original_max_position_embeddings"] for each in (inside, beside)]
print(f"transformers {__version__}: given inside {seen[0]}, given beside {seen[1]}")
assert seen == [4096, 32], "the behaviour has changed"
PY
