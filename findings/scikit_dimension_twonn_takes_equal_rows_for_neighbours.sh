#!/usr/bin/env bash
# scikit-dimension 0.5.0: TwoNN says that it drops points with an equal twin, whose nearest neighbour
# is at distance 0. Expected: 300 of 1,000 points of 10 dimensions given twice change nothing but that
# 600 are dropped. Seen: above 15 columns distances are taken by products (scikit-learn), so those of
# equal rows are some 1e-6 instead of 0; only a part is dropped, the others have a second neighbour
# a million times as far as the first, and 10 dimensions become 0.1. Source: id/_TwoNN.py (_twonn,
# `r1 == 0`) and _commonfuncs.py (get_nn). Equal rows are usual: states of one token at layer 0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q scikit-dimension==0.5.0
"$folder/venv/bin/python" - <<'PY'
import warnings
from importlib.metadata import version

import numpy as np
from skdim.id import TwoNN

rng = np.random.default_rng(0)
for columns in (12, 20, 60):
    turned = np.linalg.qr(rng.normal(size=(columns, columns)))[0][:10]
    points = 100 * rng.normal(size=(1_000, 10)) @ turned + 50
    repeated = np.concatenate([points, points[:300]])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = TwoNN().fit(repeated).dimension_
    alone = TwoNN().fit(points).dimension_
    print(f"scikit-dimension {version('scikit-dimension')}, {columns} columns: {alone:.2f}, and {found:.2f} with 300 rows twice; {told[0].message}")
    if columns == 12:
        assert abs(found - alone) < 3
    else:
        assert found < 1, "the behaviour has changed"
PY
