"""What the figures of the hidden states say of a run, in one computed sentence each."""

from __future__ import annotations

import pandas as pd

from strata.display.tokens import digits, fixed, listed, percent, stretches, with_shown

MASSIVE = (
    "An activation is massive if it is above 100 and at least so many times the median size of all "
    "numbers of its layer: 1,000 times is the rule of Sun et al. 2024."
)
SET = (
    "At the layer with most of them: set to the mean that they have in 20 passages, set to zero, "
    "and as many of the largest others set to zero."
)
_LONG = 3.0  # times the usual norm: a column that is bright in the figure


def reading(frame: pd.DataFrame, sinks: pd.DataFrame) -> str:
    """On `summary`: how norms grow with depth, and which tokens `sinks` found; one sentence, and
    another where more tokens are long."""
    norms = frame.pivot(index="layer", columns="position", values="norm")  # (L + 1, T)
    others = norms.drop(columns=sinks["position"])
    few = 0 < len(sinks) < norms.shape[1]
    median = (others if few else norms).median(axis=1).to_numpy()  # (L + 1,)
    text = (
        f"The median norm of all states{' but the sinks' if few else ''} is "
        f"{digits(median[0])} at layer 0 and {digits(median[-1])} at layer {len(median) - 1}"
        + (", since what blocks add piles up" if median[-1] > 2 * median[0] else "")
    )
    if sinks.empty:
        return text + "; no token is an attention sink."
    top = with_shown(sinks).iloc[int(sinks["ratio"].argmax())]
    times = "the others" if few else "what steady growth would give"
    text += (
        f"; position {top['position']}, “{top['shown']}”, reaches {digits(top['norm'])} at layer "
        f"{top['layer']}, {digits(top['ratio'])} times {times}: by norm an attention sink"
    )
    if len(sinks) > 1:
        also = [str(position) for position in sinks["position"] if position != top["position"]]
        text += f", and so {'is' if len(also) == 1 else 'are'} {_numbers(also)}"
    return f"{text}.{_long(norms.drop(columns=sinks['position']))}" if few else f"{text}."


def _long(norms: pd.DataFrame) -> str:
    """Of the norms (L + 1, T') of all tokens but sinks: which stand out, in a sentence; or ''."""
    ratios = norms.div(norms.median(axis=1), axis=0).max()
    most = ratios[ratios >= _LONG].sort_values(ascending=False)
    if most.empty:
        return ""
    one = len(most) == 1
    return (
        f" {'Position' if one else 'Positions'} {_numbers([str(p) for p in most.index])} "
        f"{'is' if one else 'are'} long at some layer too, up to {most.iloc[0]:.1f} times the "
        "others, but not the tenfold that a sink is known by."
    )


def _numbers(positions: list[str], most: int = 6) -> str:
    more = len(positions) - most + 1
    shown = positions if len(positions) <= most else [*positions[: most - 1], f"{more} more"]
    return listed(shown)


def strip_reading(frame: pd.DataFrame, d_model: int) -> str:
    """One sentence on `strip`: where the largest activation is, and how much of D is drawn."""
    top = frame.iloc[int(frame["value"].abs().argmax())]
    fewest = int(frame.groupby("layer").size().min())
    drawn = (
        f"all {d_model:,} dimensions are drawn"
        if fewest == d_model
        else f"at least {fewest:,} of {d_model:,} dimensions are drawn at each layer, a sample "
        "that always keeps the extremes"
    )
    text = f"The largest activation is {digits(top['value'])}, in dimension {top['dim']:.0f} at "
    text += f"layer {top['layer']:.0f}"
    median = frame.loc[frame["layer"] == top["layer"], "value"].abs().median()
    if fewest == d_model and median > 0:  # that of a sample would be another
        text += f", {digits(abs(top['value']) / median)} times the median size there"
    return f"{text}; {drawn}."


def outliers_reading(frame: pd.DataFrame) -> str:
    """One sentence on `outliers`."""
    if frame.empty:
        return "Every token of this prompt is left out here."
    top = with_shown(frame).iloc[0]
    return (
        f"Dimension {top['dim']} alone holds {percent(top['share'])} of the squared norm of "
        f"“{top['shown']}” at layer {top['layer']}."
    )


def final_norm_reading(frame: pd.DataFrame) -> str:
    """One sentence on `final_norm`, about the last position, which predicts the next token."""
    last = frame.iloc[-1]
    text = (
        f"The final norm takes the last state from a norm of {digits(last['norm_before'])} to "
        f"{digits(last['norm_after'])}"
    )
    if pd.isna(last["cosine"]):  # the head reads another width, or a state is zero
        return f"{text}; between the two no cosine is defined."
    turns = "turns it" if last["cosine"] < 0.99 else "hardly turns it"
    return f"{text} and {turns}: the cosine between the two is {fixed(last['cosine'], 2)}."


def massive_reading(found: pd.DataFrame, path: pd.DataFrame, times: float) -> str:
    """Of `massive` and `massive_path`, with `shown`: how many activations are massive, where the
    largest appears and vanishes, and how it gets there."""
    places = found[["position", "dim"]].drop_duplicates()
    one = len(places) == 1
    whose = "its" if len(places) < 2 else "their"
    rule = f"above 100 and {times:,.0f} times the median size of {whose} layer"
    if found.empty:
        return f"No activation of this prompt is massive, that is {rule}."
    top = path.iloc[0]
    own = path[(path["position"] == top["position"]) & (path["dim"] == top["dim"])]
    sizes = own.set_index("layer")["value"].abs()
    layers = own.loc[own["massive"], "layer"].tolist()
    peak = int(sizes.idxmax())
    text = (
        f"{len(places):,} {'activation is' if one else 'activations are'} massive, that is {rule}: "
        f"{'it' if one else 'the largest'} is in dimension {top['dim']} of “{top['shown']}” "
        f"({top['position']}), at layer{'s' * (len(layers) > 1)} {stretches(layers)}, "
        f"{digits(sizes[peak])} at layer {peak}"
    )
    before = sizes[sizes.index < peak]
    built = _built_before(before)
    if built is not None:
        text += (
            f". It was built once before, to {digits(before[built[0]])} at layer {built[0]}, and "
            f"was down to {digits(before[built[1]])} at layer {built[1]}"
        )
    last = int(sizes.index[-1])
    if last > peak and sizes[last] < sizes[peak] / 2:
        text += f"; at layer {last}, the last, {digits(sizes[last])} of it are left"
    return f"{text}."


def _built_before(sizes: pd.Series) -> tuple[int, int] | None:
    """Of sizes by layer below the peak: the layers of an earlier peak and of the trough after it,
    where that is less than half of it; None where there is none."""
    for peak in sizes.sort_values(ascending=False).index:
        after = sizes[sizes.index > peak]
        if len(after) and after.min() < sizes[peak] / 2 and sizes[peak] > 100:
            return int(peak), int(after.idxmin())
    return None


def without_reading(frame: pd.DataFrame) -> str:
    """Of `without_massive`: what the model does without them."""
    rows = frame.set_index("what")
    n, layer = int(rows.loc["zero", "n"]), int(rows.loc["zero", "layer"])
    changes = {name: fixed(rows.loc[name, "change"], 3) for name in rows.index[1:]}
    subject = "the massive activation" if n == 1 else f"the {n} massive activations"
    zero = "zero in its place" if n == 1 else "zeros in their place"
    own = "its mean" if n == 1 else "their means"
    others = (
        f"with zero in the place of as many of the largest others by {changes['others to zero']}"
    )
    n_means = int(rows.loc["mean", "n"])  # of places that other texts are long enough for
    if not n_means:
        return (
            f"Without {subject} of layer {layer}, with {zero}, the loss changes by "
            f"{changes['zero']} nats a token, and {others}. No other text is long enough for "
            f"{own} there."
        )
    some = (
        "" if n_means == n else f" ({n_means} of them: no other text is long enough for the rest)"
    )
    return (
        f"With {subject} of layer {layer} set to {own} over other texts{some} the loss changes by "
        f"{changes['mean']} nats a token, with {zero} by {changes['zero']}, and {others}."
    )
