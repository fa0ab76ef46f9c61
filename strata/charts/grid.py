"""The grid of the logit lens: a token in each cell of layers x tokens, coloured twice."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strata.display.tokens import digits, display_candidate, with_shown

QUANTITIES = {  # what a cell's background or letters may carry
    "prob": "probability",
    "norm": "norm",
    "entropy": "entropy",
    "kl_to_final": "KL to the final",
    "target_prob": "target's probability",
    "target_rank": "target's rank (0 is best)",
    "logit": "logit added",
    "target_logit": "target's logit added",
    "nothing": "nothing",
}

_SIGNED = ("logit", "target_logit")


@dataclass(frozen=True)
class Scale:
    """How a quantity becomes a depth of colour: 0 none, 1 full; negative numbers their own hue."""

    quantity: str
    full: float  # what gets the full colour
    low: str
    high: str
    name: str = ""  # of the quantity, where it is not the one in `QUANTITIES`

    def levels(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """A level from -1 to 1 for each row; a missing number has none."""
        if self.quantity == "nothing":
            return np.zeros(len(frame))
        values = frame[self.quantity].to_numpy(dtype=float)
        if self.quantity == "target_rank":
            values = self.full - np.log1p(values)
        return np.nan_to_num(np.clip(values / self.full, -1, 1))

    def legend(self, kind: str) -> dict[str, Any]:
        """What the foot of a grid says of it; `kind` is back or front."""
        signed = self.quantity in _SIGNED
        ends = {"low": self.low, "high": self.high}
        if signed and kind == "front":  # letters have no second hue: only the size shows
            ends = {"low": "0", "high": self.high.replace("+", "±")}
        where = "Background" if kind == "back" else "Letters"
        name = f"{where}: {self.name or QUANTITIES[self.quantity]}"
        return {"kind": kind, "name": name, **ends, "signed": signed}


@dataclass(frozen=True)
class Grid:
    """What the page draws: plain data for the component, and what the figure says in words."""

    title: str
    reading: str
    layers: list[int]
    columns: list[dict[str, Any]]  # position, shown
    cells: list[list[dict[str, Any]]]  # one list a layer: shown, tip, back, front, same
    legend: list[dict[str, Any]]  # kind (back or front), name, low, high, signed
    same: str = "what the model itself answers there"  # the meaning of an underlined token
    about: str = ""  # what it is of and what it leaves out: see `subject.in_a_line`

    @property
    def alt(self) -> str:
        """Words for those who cannot see the figure."""
        named = f"{self.title}. {self.reading}"
        return f"{named} {self.about}" if self.about else named


def scale_for(
    frames: Sequence[pd.DataFrame],
    quantity: str,
    d_vocab: int,
    skip: Sequence[Collection[int]] = (),
) -> Scale:
    """The scale that several grids share. `skip`: the positions of each that do not decide it,
    such as attention sinks, whose norms and writes are huge: the upper end says how far they go."""
    if quantity == "nothing":
        return Scale(quantity, 1.0, "", "")
    if quantity in ("prob", "target_prob"):
        return Scale(quantity, 1.0, "0%", "100%")
    if quantity == "target_rank":
        return Scale(quantity, math.log(d_vocab), f"{d_vocab - 1:,}", "0, the best")
    if quantity == "entropy":
        return Scale(
            quantity, math.log(d_vocab), "0 nats, certain", f"{math.log(d_vocab):.1f} nats"
        )
    whole = frame = pd.concat(frames)
    if skip and quantity != "kl_to_final":
        others = pd.concat(
            [f[~f["position"].isin(out)] for f, out in zip(frames, skip, strict=True)]
        )
        frame = others if len(others) else frame
    largest = float(frame[quantity].abs().max())
    full = largest if largest > 0 else 1.0
    most = float(whole[quantity].abs().max())
    more = f" or more, up to {digits(most)}" if most > full else ""
    if quantity in _SIGNED:
        return Scale(quantity, full, f"−{digits(full)}", f"+{digits(full)}{more}")
    unit = " nats" if quantity == "kl_to_final" else ""
    return Scale(quantity, full, "0", f"{digits(full)}{more}{unit}")


def lens_grid(
    frame: pd.DataFrame,
    title: str,
    reading: str,
    back: Scale,
    front: Scale,
    *,
    up: bool = True,
    noun: str = "position",
) -> Grid:
    """A token for each layer and position (or what else `noun` names), tinted by `back`, its
    letters by `front`. Columns: layer, position, token, predicted, token_id, final_id, norm, top,
    other."""
    frame = with_shown(frame)
    layers = sorted(frame["layer"].unique().tolist(), reverse=up)
    positions = sorted(frame["position"].unique().tolist())
    made = [
        {
            "shown": display_candidate(row.predicted),
            "tip": f"Layer {row.layer}, {noun} {row.position} {row.shown}\n"
            f"{row.top}\n" + (f"…\n{row.other}\n" if row.other else "") + f"norm {row.norm:,.4g}",
            "back": round(float(deep), 3),
            "front": round(float(dark), 3),
            "same": row.token_id == row.final_id,
        }
        for row, deep, dark in zip(
            frame.itertuples(), back.levels(frame), front.levels(frame), strict=True
        )
    ]
    where = {(row.layer, row.position): i for i, row in enumerate(frame.itertuples())}
    names = frame.drop_duplicates("position").set_index("position")["shown"]
    return Grid(
        title,
        reading,
        layers,
        [{"position": p, "shown": names[p]} for p in positions],
        [[made[where[layer, p]] for p in positions] for layer in layers],
        [scale.legend(kind) for kind, scale in (("back", back), ("front", front)) if scale.low],
    )
