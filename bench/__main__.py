"""`python -m bench`: one table and, if asked, one JSON file, of Strata beside the alternatives.

The model is the first of the catalogue (STRATA_MODELS may name another catalogue). Alternatives
take turns in the same run, so compare ratios, not times of different days.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in app.py: read when torch is imported

import argparse
import json
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.measure import Row, table
from strata.weights.catalogue import catalogue

Bench = Callable[[str, bool], Iterator[Row]]  # model's name, quick

BENCHES = {  # name: module of this package; what it measures is its docstring
    "capture": "model_costs",
    "lens": "model_costs",
    "check": "model_costs",
    "batching": "engine_costs",
    "cache": "engine_costs",
    "chart": "charts",
    "geometry": "geometry",
    "lens_grid": "lens_grid",
    "sweep": "sweep",
    "patching": "patching",
    "sets": "sets",
    "jacobian": "jacobian",
    "maps": "maps",
    "views": "views",
    "startup": "startup",
}


def bench(name: str) -> Bench:
    """The bench of that name; imported late, so that none pays for the modules of another."""
    found: Bench = getattr(import_module(f"bench.{BENCHES[name]}"), name)
    return found


def busy() -> float:
    """How many programs compete for each core, over the last minute; 0 where that is unknown."""
    return os.getloadavg()[0] / (os.cpu_count() or 1) if hasattr(os, "getloadavg") else 0.0


def report(rows: Sequence[Row], model: str, load: float) -> dict[str, Any]:
    """The measurements and what they were made with, as plain data; times in seconds."""
    packages = ("torch", "transformers", "streamlit", "pandas")
    return {
        "model": model,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "busy_before": load,
        "versions": {package: version(package) for package in packages},
        "rows": [row.as_dict() for row in rows],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benches; 1 if a bound does not hold."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Strata beside the plain alternatives, in one table."
    )
    parser.add_argument(
        "--only", metavar="NAME", action="append", choices=BENCHES, help=", ".join(BENCHES)
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write all numbers here")
    parser.add_argument("--quick", action="store_true", help="few runs: to see that it works")
    options = parser.parse_args(arguments)
    model, load = next(iter(catalogue())), busy()
    rows: list[Row] = []
    for name in options.only or BENCHES:
        print(f"{name} ...", file=sys.stderr, flush=True)
        rows += bench(name)(model, options.quick)
    print(table(rows))
    if load > 0.5:
        print(f"The machine was busy before this ({load:.1f} programs a core): trust ratios only.")
    if options.json:
        options.json.write_text(json.dumps(report(rows, model, load), indent=2) + "\n", "utf-8")
    return int(any(row.ok is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
