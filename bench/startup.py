"""What a start costs: from the first moment of the process to the first answered prompt."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.measure import Row, Sample
from strata import weights
from strata.catalogue import resolve
from strata.errors import StrataError
from tests.browser.server import ROOT, serve

_TIMED = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"
_IMPORTS = "import strata.model"
_LOAD = "strata.model.load_model({name!r})"
_PLAIN = "import torch, transformers; transformers.AutoModelForCausalLM"
_GGUF = (
    "a = {{'pretrained_model_name_or_path': {folder!r}, 'gguf_file': {file!r}}}; "
    "t.AutoTokenizer.from_pretrained(**a); "
    "t.AutoModelForCausalLM.from_pretrained(**a, dtype='float32', "
    "quantization_config=t.GgufConfig(dequantize=True))"
)


def startup(name: str, quick: bool) -> Iterator[Row]:
    """Server, imports and loading, each in a fresh process; the weights are in the cache."""
    rounds = 1 if quick else 5
    _fresh(_IMPORTS, _LOAD.format(name=name))  # fills the disk cache, and the weights' if need be
    ready = Sample(tuple(_ready() for _ in range(rounds)))
    yield Row("process start to /readyz", ready, p95_at_most=10.0)

    imports, plain, first, later = [], [], [], []
    load = _LOAD.format(name=name)
    for _ in range(rounds):
        imports.append(_fresh("pass", _IMPORTS))
        plain.append(_fresh("pass", _PLAIN))
        first.append(_fresh(_IMPORTS, load))
        later.append(_fresh(f"{_IMPORTS}; {load}", load))
    yield Row("import strata.model", _sample(imports), _sample(plain), "torch, transformers")
    gguf = None if quick else _from_gguf(name)
    against = "straight from the GGUF file" if gguf else ""
    yield Row("load_model, first in a process", _sample(first), gguf, against)
    yield Row("load_model, later", _sample(later), gguf, against)


def _ready() -> float:
    start = time.perf_counter()
    with serve():
        return time.perf_counter() - start


def _fresh(before: str, timed: str) -> float:
    """Seconds that `timed` takes in a new Python, after `before`."""
    code = f"{before}\n" + _TIMED.format(timed)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[-1])


def _from_gguf(name: str) -> Sample | None:
    """One load of the bundled model the slow way; None if its file cannot be had."""
    if resolve(name).source != "bundled":
        return None
    with tempfile.TemporaryDirectory() as folder:
        try:
            file = weights._bundled_gguf(name, lambda fraction, message: None)(Path(folder))
        except StrataError as error:
            print(f"no comparison with the GGUF file: {error}", file=sys.stderr)
            return None
        load = _GGUF.format(folder=folder, file=file.name)
        return _sample([_fresh("import strata.model, transformers as t", load)])


def _sample(seconds: list[float]) -> Sample:
    return Sample(tuple(seconds))
