"""What the Gaussian baseline's numbers say, in sentences computed from them, and its measures."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from strata.concepts.gaussian_baseline.density import ks_distance, quantile
from strata.display.tokens import digits, display_sampled, display_text, fixed, listed, percent

PARTS = {"stream": "the residual stream", "attn": "the attention writes", "mlp": "the MLP writes"}
SPIKES = (
    "In one dimension there are only two directions, forward and back: half of all pairs point the "
    "same way (cosine 1), half the opposite way (cosine −1), and none lies between."
)
GLANCE = (
    "A write is at the layer that it makes; the dashed line is the chosen layer. Distances are "
    "Kolmogorov-Smirnov distances, taken at 1,001 quantiles: at most 0.001 too small. An effective "
    "dimension above the width of the model means an offset that squeezes all cosines together."
)
INTRINSIC = (
    "TwoNN compares the distances to the nearest two other states, which says in how many "
    "directions states vary near each other, also on a curved surface; linear measures count the "
    "directions that all states together take up. Equal states are left out, since their distance "
    "is 0."
)
NULLS = {
    "shuffled words": "The same texts with the words of each in another order, read anew: this "
    "takes as long as the reading of the texts.",
    "random blocks": "The same texts read by a model whose blocks have learned nothing: matrices "
    "of Gaussian noise with the same mean and spread. This takes longer than the reading.",
}
NEAR = 0.05  # Kolmogorov-Smirnov distance up to which two distributions look alike in a figure
ROUGH = 0.15  # and up to which they have roughly the same shape
GIANT = 5.0  # a state is giant where its norm is this many times the median


def reading(frame: pd.DataFrame) -> str:
    """One sentence on `summary`: where the cosines lie, and how far that is from the baselines."""
    [row] = frame.itertuples()
    text = (
        f"The cosines of {row.n_pairs:,} pairs have mean {fixed(row.mean, 2)} and spread "
        f"{digits(row.spread, 2)}, as wide as for random directions in "
        f"{_number(row.effective_dimension)} dimensions. In distribution they are "
        f"{row.ks_full:.2f} from random directions in all {row.dims:,}"
    )
    if row.ks_best > ROUGH:
        return f"{text}, and no other number of dimensions comes near: at best {row.ks_best:.2f}."
    if row.best_dimension == row.dims:
        return f"{text}, which no other number comes nearer to."
    return f"{text}, and {row.ks_best:.2f} from the nearest number, {row.best_dimension:,}."


def compare(
    numbers: pd.DataFrame, order: pd.DataFrame, pair: pd.Series, d: int, n: int
) -> pd.DataFrame:
    """Of `summary` and `quantiles`, as text: number, these (states), random (n directions in d
    dimensions)."""
    [row] = numbers.itertuples()
    rows = [
        ("Mean cosine", fixed(row.mean), "0"),
        ("Spread", f"{row.spread:.3f}", f"{1 / math.sqrt(d):.3f}"),
        ("Effective dimension", _number(row.effective_dimension), f"{d:,}"),
        ("Participation ratio", _number(row.participation_ratio), _number(1 / (1 / d + 1 / n))),
        (
            f"Cosine at {pair['quantile']:.1%}",
            fixed(pair["cosine"]),
            fixed(quantile(pair["quantile"], d)),
        ),
    ]
    named = {d: "these", int(row.best_dimension): "the nearest", int(row.dims): "all"}
    rows += [
        (
            f"Distance from {dims:,} ({name})",
            f"{ks_distance(order['cosine'], order['rank'], dims):.3f}",
            "0" if dims == d else "",
        )
        for dims, name in named.items()
    ]
    return pd.DataFrame(rows, columns=["number", "these", "random"])


def context(pair: pd.Series, side: str) -> str:
    """Of a row of `quantiles`: a token between its neighbours, the next one in brackets."""
    before, token, after = (pair[f"{key}_{side}"] for key in ("before", "token", "next"))
    end = "end of the text" if pd.isna(after) else display_sampled(after)
    start = display_text(before, 200) if before else ""
    return f"{start} »{display_sampled(token)}« [{end}]"


def told(frame: pd.DataFrame) -> pd.DataFrame:
    """`decomposition` as text, its columns named for a reader."""
    steps = {"raw": "raw", "centred": "centred", "dropped": "without the top"}
    d_model = frame["dims"].max()
    return pd.DataFrame(
        {
            "states": frame["part"].map(PARTS).str.removeprefix("the "),
            "step": frame["step"].map(steps),
            "mean": frame["mean"].map(fixed),
            "effective dimension": frame["effective_dimension"].map(_number),
            "mean square × D": (frame["mean_square"] * d_model).map(_number),
            "step explains": [
                "" if pd.isna(share) else _share(share) for share in frame["explained"]
            ],
            "distance from all": frame["ks_full"].map("{:.2f}".format),
            "nearest": [
                f"{row.best_dimension:,} (distance {row.ks_best:.2f})" for row in frame.itertuples()
            ],
        }
    )


def conclusion(frame: pd.DataFrame, part: str) -> str:
    """Of `decomposition`: whether a part's states at this layer are far from random directions, how
    much of that the common offset and the dropped dimensions explain, and what is left."""
    steps = frame[frame["part"] == part].set_index("step")
    raw, centred, dropped = (steps.loc[step] for step in ("raw", "centred", "dropped"))
    d_model = int(raw["dims"])
    subject = "The states of the residual stream" if part == "stream" else f"T{PARTS[part][1:]}"
    if raw["ks_full"] <= NEAR:
        return (
            f"{subject} are, as they come, spread like random directions in all {d_model:,} "
            f"dimensions (distance {raw['ks_full']:.2f}): there is nothing to explain."
        )
    text = (
        f"{subject} are, as they come, far from random directions in all {d_model:,} dimensions "
        f"(distance {raw['ks_full']:.2f}). "
    )
    n_dropped = d_model - int(dropped["dims"])
    rogue = f"the {n_dropped} dimensions" if n_dropped > 1 else "the dimension"
    if pd.isna(centred["explained"]):
        text += "Yet their mean squared cosine is as expected, so it is their shape that differs. "
    else:
        left = 1 - centred["explained"] - dropped["explained"]
        text += (
            f"Their mean squared cosine is {_number(raw['mean_square'] * d_model)} times as large; "
            f"of this excess the offset that they share explains {_share(centred['explained'])}, "
            f"{rogue} of largest variance {_share(dropped['explained'])}, and {_share(left)} is "
            "left. "
        )
    text += _left(centred, dropped, rogue)
    if raw["largest"] >= GIANT:
        text += (
            f" Some states are far larger than the others, the largest {raw['largest']:.0f} times "
            "the median, so they decide the mean that centring takes."
        )
    return text


def _left(centred: pd.Series, dropped: pd.Series, rogue: str) -> str:
    if centred["ks_full"] <= NEAR:
        return (
            f"Centred, they are spread like random directions in all {centred['dims']:,} "
            f"dimensions (distance {centred['ks_full']:.2f})."
        )
    if dropped["ks_full"] <= NEAR:
        return (
            f"Centred and without {rogue} of largest variance, they are spread like random "
            f"directions in all {dropped['dims']:,} that remain (distance "
            f"{dropped['ks_full']:.2f})."
        )
    nearest = f"{dropped['best_dimension']:,} dimensions (distance {dropped['ks_best']:.2f})"
    if dropped["ks_best"] <= NEAR:
        return f"What is left is spread like random directions, but in only {nearest}."
    if dropped["ks_best"] <= ROUGH:
        return f"What is left is spread roughly like random directions in only {nearest}."
    return f"What is left fits no number of dimensions: nearest are random directions in {nearest}."


def closest(frame: pd.DataFrame) -> str:
    """Of `decomposition`: which part is closest to Gaussian at this layer; '' where there is one
    part only."""
    raw = frame[frame["step"] == "raw"].sort_values("ks_best", kind="stable")
    if len(raw) < 2:
        return ""
    first, *others = raw.itertuples()
    come, are = ("comes", "it is") if first.part == "stream" else ("come", "they are")
    rest = ", ".join(f"{PARTS[row.part]} {row.ks_best:.2f}" for row in others)
    return (
        f"At this layer {PARTS[first.part]} {come} closest to a Gaussian of any dimension, as "
        f"{are}: distance {first.ks_best:.2f} ({rest})."
    )


def whole(frame: pd.DataFrame) -> str:
    """Of `glance`: which part is closest to Gaussian over all layers, and in how many dimensions
    the states are effectively spread."""
    numbers = ["ks_best", "effective_dimension", "mean"]
    middle = frame.groupby("part")[numbers].median().sort_values("ks_best", kind="stable")
    first, dims = middle.iloc[0], int(frame["dims"].max())
    part = str(middle.index[0])
    rest = ", ".join(f"{PARTS[str(p)]} {row['ks_best']:.2f}" for p, row in middle[1:].iterrows())
    return (
        f"Over all layers {PARTS[part]} {'come' if part != 'stream' else 'comes'} closest to a "
        f"Gaussian of any dimension: median distance {first['ks_best']:.2f}"
        f"{f' ({rest})' if rest else ''}, mean cosine {fixed(first['mean'], 2)}, and a spread as "
        f"in {_number(first['effective_dimension'])} of {dims:,} dimensions."
    )


def dimensions_reading(frame: pd.DataFrame, n: int) -> str:
    """One sentence on `dimensions`: how many look Gaussian, and which stands out most."""
    known = frame.dropna(subset="kurtosis")
    if known.empty:
        return "No dimension differs between these states."
    band = 2 * math.sqrt(24 / n)
    within = float((known["kurtosis"].abs() <= band).mean())
    top = known.loc[known["kurtosis"].idxmax()]
    return (
        f"{within:.0%} of the dimensions have an excess kurtosis within ±{band:.2f}, where about "
        f"95% of Gaussian ones would lie; the heaviest tails are in dimension {top['dim']:.0f}, "
        f"with {_number(top['kurtosis'])}, which holds {percent(top['share'])} of all variance."
    )


def normality_reading(frame: pd.DataFrame, dim: int) -> str:
    """One sentence on `normality`: how far the dimension reaches, and at which token."""
    top = frame.loc[frame["observed"].abs().idxmax()]
    return (
        f"Dimension {dim} reaches {abs(top['observed']):.1f} standard deviations from its mean, at "
        f"“{display_sampled(top['token'])}”; the most extreme of as many Gaussian values would be "
        f"expected at {abs(frame['expected'].iloc[0]):.1f}."
    )


def _share(value: float) -> str:
    return f"{value:.0%}" if value >= 0.005 else ("none" if value > -0.005 else f"−{-value:.0%}")


def _number(value: float) -> str:
    if math.isinf(value):
        return "infinitely many"
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.2g}"


def intrinsic_reading(frame: pd.DataFrame, known: pd.DataFrame, part: str, layer: int) -> str:
    """Of `intrinsic`, and of `known_dimension` for as many states as there are at this layer: how
    many dimensions a part's states have near each of them there, as how many known ones give, and
    beside linear measures."""
    rows = frame[frame["part"] == part].set_index("layer")
    row = rows.loc[layer]
    known_of = rows["twonn"].dropna()
    subject = "The residual stream" if part == "stream" else f"T{PARTS[part][1:]}"
    one = part == "stream"
    if known_of.empty or pd.isna(row["twonn"]):
        return (
            f"{subject} {'has' if one else 'have'} {row['n_states']:,.0f} different states at "
            f"layer {layer}: too few to say in how many dimensions they vary."
        )
    as_many = as_known(known, row["twonn"])
    truth = (
        "more than any Gaussian noise here gives"
        if math.isnan(as_many)
        else f"which {_states(known)} of Gaussian noise in {_near(as_many)} dimensions give too"
    )
    by_eight = "not known" if pd.isna(row["at_8"]) else f"in {_near(row['at_8'])}"
    text = (
        f"{subject} at layer {layer} {'varies' if one else 'vary'} in {_near(row['twonn'])} "
        f"dimensions near each state (TwoNN), {truth}, and by 8 neighbours {by_eight}; "
        f"linear measures count {_near(row['participation_ratio'])} "
        f"(participation ratio) and {_near(row['effective_dimension'])} (effective dimension)."
    )
    if not pd.isna(row["with_first"]):
        text += f" With first tokens the participation ratio is {row['with_first']:.4g}."
    least, most = known_of.idxmin(), known_of.idxmax()
    if least != most:
        text += (
            f" Over the layers TwoNN is least at layer {least} ({_near(known_of[least])}) and "
            f"largest at layer {most} ({_near(known_of[most])})."
        )
    return text


def bias_reading(known: pd.DataFrame) -> str:
    """Of `known_dimension`: from where on TwoNN is far too small."""
    short = known[known["twonn"] < 0.8 * known["dimension"]]
    last = known.dropna(subset="twonn").iloc[-1:]
    if last.empty:
        return "These are too few states to try the estimate on noise."
    [row] = last.itertuples()
    begins = (
        "within a fifth of the truth everywhere"
        if short.empty
        else f"more than a fifth too small from {int(short['dimension'].iloc[0])} dimensions on"
    )
    return (
        f"Of {row.n_states:,} states of Gaussian noise TwoNN is {begins}: in {row.dimension:,} "
        f"dimensions it says {_near(row.twonn)}."
    )


BESIDE_CHANCE = {
    "twonn": "TwoNN",
    "participation_ratio": "participation ratio",
    "effective_dimension": "effective dimension",
}


def null_dimension_reading(frame: pd.DataFrame, nulls: pd.DataFrame, layer: int) -> str:
    """Of `intrinsic` and `intrinsic_null`: what chance gives for the stream at a layer, by each
    measure."""
    stream = frame[(frame["part"] == "stream") & (frame["layer"] == layer)].iloc[0]
    there = nulls[(nulls["part"] == "stream") & (nulls["layer"] == layer)]
    told = []
    for column, measure in BESIDE_CHANCE.items():
        said = [f"{_near(row[column])} of {row['null']}" for _, row in there.iterrows()]
        of_text = f"{_near(float(stream[column]))} of the text"
        told.append(f"{measure} {listed([of_text, *said])}")
    where = f"Of the residual stream, which alone is drawn by chance, at layer {layer}"
    return f"{where}: {'; '.join(told)}."


def equal_note(frame: pd.DataFrame, part: str, layer: int) -> str:
    """Of `intrinsic`: which states are left out at a layer; "" where none is."""
    row = frame[(frame["part"] == part) & (frame["layer"] == layer)].iloc[0]
    out = []
    if row["n_equal"]:
        equal = "equals" if row["n_equal"] == 1 else "equal"
        out.append(f"{row['n_equal']:,} that {equal} another at layer {layer}")
    if row["n_first"]:
        tokens = "first token" if row["n_first"] == 1 else "first tokens"
        out.append(f"{row['n_first']:,} {tokens}")
    return f"without {' and '.join(out)}" if out else ""


def as_known(known: pd.DataFrame, value: float, name: str = "twonn") -> float:
    """Of `known_dimension`: of how many dimensions Gaussian noise gives this estimate, between its
    rows by interpolation of logarithms; NaN beyond the last."""
    rows = known.dropna(subset=name)
    if not len(rows) or not 0 < value <= rows[name].max():
        return math.nan
    said, true = np.log(rows[name].to_numpy(float)), np.log(rows["dimension"].to_numpy(float))
    return float(np.exp(np.interp(math.log(value), said, true)))


def _states(known: pd.DataFrame) -> str:
    return f"{int(known['n_states'].iloc[0]):,} states"


def _near(value: float) -> str:
    if math.isnan(value):
        return "not known"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
