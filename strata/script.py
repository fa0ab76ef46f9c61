"""'Show the code': the opening that every concept's program shares, with plain transformers."""

from __future__ import annotations

from typing import Any


def program(
    purpose: str,
    body: str,
    source: str,
    revision: str | None,
    prompt: str,
    dtype: str = "float32",
    **constants: Any,
) -> str:
    """A self-contained Python program: its purpose, its constants, the model, then `body`.

    `source` is a folder or a hub id, `revision` a commit of the latter. The body finds `torch`,
    `tokenizer`, `model`, `token_ids` (1, T) and each of `constants` in capitals. Everything that a
    learner typed is written by `repr`, so it stays a value and never becomes code.
    """
    where = "SOURCE" if revision is None else "SOURCE, revision=REVISION"
    named = {"SOURCE": source, "REVISION": revision, "PROMPT": prompt}
    named |= {name.upper(): value for name, value in constants.items()}
    values = "\n".join(f"{k} = {v!r}" for k, v in named.items() if k != "REVISION" or revision)
    return (
        f'"""{purpose}"""\n\n'
        "import torch\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        f"{values}\n\n"
        f"tokenizer = AutoTokenizer.from_pretrained({where})\n"
        f"model = AutoModelForCausalLM.from_pretrained({where}, dtype=torch.{dtype})\n"
        'token_ids = tokenizer(PROMPT, return_tensors="pt")["input_ids"]  # (1, T)\n'
        f"\n{body.strip()}\n"
    )
