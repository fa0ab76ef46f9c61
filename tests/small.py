"""A random model with the bundled model's tokenizer: prompts are split as by the real one, and a
page is there in a moment. For tests of what pages do with words, not of numbers."""

from __future__ import annotations

import tomllib
from pathlib import Path

from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

from strata.corpus.passages import passages
from strata.model import load_model
from strata.model.fingerprint import fingerprint
from strata.model.fitted import place
from strata.model.jacobian import fit
from strata.model.load import convert_gguf
from strata.weights import sources
from strata.weights.catalogue import resolve
from tests import tiny

BUNDLED = "smollm2-135m"
LISTED = Path(__file__).parents[1] / "models.toml"
_ENTRY = '[[model]]\nid = "{}"\nsource = "folder"\npath = "{}"\nlicence = "none"\n'
_ENTRY += "prompt_limit = 256\n"


def save(folder: Path, seed: int = 0, family: str = "llama", bos: bool = False) -> Path:
    """Write it into a folder; the answer is the folder. With another seed it says other things;
    with `bos` its tokenizer puts a start token before each text."""
    tokenizer = AutoTokenizer.from_pretrained(sources.folder(resolve(BUNDLED), convert_gguf))
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    room = {"vocab_size": len(tokenizer), "max_position_embeddings": 1024}
    tiny.build(family, seed, **room, **ends).save_pretrained(folder)
    if bos:
        start = tokenizer.bos_token
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single=f"{start} $A", special_tokens=[(start, tokenizer.bos_token_id)]
        )
    tokenizer.save_pretrained(folder)
    return folder


def catalogue(folder: Path, *names: str, seed: int = 0) -> Path:
    """A file that lists it under these names."""
    saved = save(folder / "small", seed)
    listed = folder / "models.toml"
    listed.write_text("".join(_ENTRY.format(name, saved) for name in names), "utf-8")
    return listed


def environment(folder: Path, seed: int = 0) -> dict[str, str]:
    """What a server is told to have Strata's own list, with it in the bundled model's place."""
    listed = catalogue(folder, BUNDLED, seed=seed)
    _, _, first, *others = LISTED.read_text("utf-8").split("[[model]]\n")  # a comment has one too
    assert tomllib.loads(first)["id"] == BUNDLED
    listed.write_text(listed.read_text("utf-8") + "".join(f"[[model]]\n{e}" for e in others))
    return {"STRATA_MODELS": str(listed)}


def with_a_lens(folder: Path, seed: int) -> dict[str, str]:
    """`environment`, of a model to which a Jacobian lens was fitted. It is kept by the model's
    weights, so with a seed of its own other servers' models go without."""
    told = environment(folder, seed)
    model = load_model(str(folder / "small"), device="cpu")
    kept = place(fingerprint(model))
    kept.parent.mkdir(parents=True, exist_ok=True)
    fit(model, list(passages().values())[:2], max_tokens=32).save(kept)
    return told
