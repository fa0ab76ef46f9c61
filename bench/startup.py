"""What a start costs: from the first moment of the process to the first answered prompt."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.measure import Row, Sample
from strata.errors import StrataError
from strata.weights import sources
from strata.weights.catalogue import resolve
from tests.browser.server import ROOT, serve

_PLAIN = "import torch, transformers; transformers.AutoModelForCausalLM"
_LOAD = "strata.model.load_model({name!r})"
_GGUF = (
    "a = {{'pretrained_model_name_or_path': {folder!r}, 'gguf_file': {file!r}}}; "
    "t.AutoTokenizer.from_pretrained(**a); "
    "t.AutoModelForCausalLM.from_pretrained(**a, dtype='float32', "
    "quantization_config=t.GgufConfig(dequantize=True))"
)


def startup(name: str, quick: bool) -> Iterator[Row]:
    """Server, imports and loading, each in a fresh process; the weights are in the cache."""
    rounds = 1 if quick else 5
    load = _LOAD.format(name=name)
    stages = ("import strata.model.load", load, load)
    if not quick:
        _fresh(*stages)  # fills the cache of weights, if need be, and the disk's
    ready, plain, ours = [], [], []
    for _ in range(rounds):
        ready.append(_ready())
        theirs, more, *loads = _fresh(_PLAIN, *stages)  # of ours, what it adds to theirs
        plain.append(theirs)
        ours.append([theirs + more, *loads])
    imports, first, later = (Sample(tuple(seconds)) for seconds in zip(*ours, strict=True))
    yield Row("process start to /readyz", Sample(tuple(ready)), p95_at_most=10.0)
    yield Row("import strata.model.load", imports, Sample(tuple(plain)), "torch, transformers")
    gguf = None if quick else _from_gguf(name)
    against = "straight from the GGUF file" if gguf else ""
    yield Row("load_model, first in a process", first, gguf, against)
    yield Row("load_model, later", later, gguf, against)


def _ready() -> float:
    start = time.perf_counter()
    with serve():
        return time.perf_counter() - start


def _fresh(*statements: str) -> list[float]:
    """The seconds that each statement takes in a new Python, one after the other."""
    code = ["import time"]
    for statement in statements:
        code += ["start = time.perf_counter()", statement, "print(time.perf_counter() - start)"]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(code)],
        cwd=ROOT,
        env={**os.environ, "TQDM_DISABLE": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [float(line) for line in done.stdout.split()]


def _from_gguf(name: str) -> Sample | None:
    """One load of the bundled model the slow way; None if its file cannot be had."""
    if resolve(name).source != "bundled":
        return None
    with tempfile.TemporaryDirectory() as folder:
        try:
            file = sources._bundled_gguf(name, lambda fraction, message: None)(Path(folder))
        except StrataError as error:
            print(f"no comparison with the GGUF file: {error}", file=sys.stderr)
            return None
        load = _GGUF.format(folder=folder, file=file.name)
        _, seconds = _fresh("import torch, transformers as t", load)
        return Sample((seconds,))
