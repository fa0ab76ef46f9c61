#!/usr/bin/env bash
# tokenizers 0.22.2: the ByteFallback decoder replaces every byte of a run by U+FFFD when the run as
# a whole is not UTF-8, the bytes of whole characters before and after the broken one included.
# Expected of a lossy decoder (as bytes.decode("utf-8", "replace") does): "Hi\ufffd!".
# Seen: "\ufffd\ufffd\ufffd\ufffd". So a model's text that ends inside of a character loses what
# stood before it, as far as that was written in byte tokens; and how a token reads depends on tokens
# after it. Source: decoders/byte_fallback.rs, where a run is converted at once.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q tokenizers==0.22.2
"$folder/venv/bin/python" - <<'PY'
from tokenizers import __version__
from tokenizers.decoders import ByteFallback

run = [f"<0x{byte:02X}>" for byte in b"Hi\xe2!"]
lossy = b"Hi\xe2!".decode("utf-8", "replace")
whole = ByteFallback().decode(run[:2])
broken = ByteFallback().decode(run)
print(f"tokenizers {__version__}: {run[:2]} is {whole!r}, {run} is {broken!r}, not {lossy!r}")
assert (whole, lossy) == ("Hi", "Hi\ufffd!")
assert broken == "\ufffd" * 4, "the behaviour has changed"
PY
