"""What is said of patched runs, and what must stand in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from strata.concepts.patching import elsewhere_words, views, words
from strata.concepts.patching.read_elsewhere import read_elsewhere
from strata.display.tokens import display_candidate
from tests.concepts.said import LONG, Run, Said, two

FEW = 4  # tokens: of longer prompts no continuations are told, a run for each layer
_WORDS = (" the", "the", ".", "x", "?", " 7")


def second(run: Run) -> str:
    """Another prompt of as many tokens, which parts from this one near its end; "" where none of a
    few words gives one."""
    tokens = list(run.trace.tokens)
    for position in range(max(0, run.last - 2), run.last + 1):
        for word in _WORDS:
            text = "".join([*tokens[:position], word, *tokens[position + 1 :]])
            if text == run.text or not text:
                continue
            ids = run.model.encode(text)
            if len(ids) == len(tokens) and not ids.equal(run.trace.token_ids):
                return text
    return ""


def said(run: Run) -> Iterator[Said]:
    other = second(run)
    if not other or run.last >= LONG:
        return
    model, trace, shown = run.model, run.trace, run.shown
    facts = views.facts(model, trace, other).to_dict("records")[0]
    best = [
        display_candidate(model.decode([int(each.trace.logits[-1].argmax())])[0]).strip("␣")
        for each in (run, Run(model, other))
    ]
    yield Said("runs_reading", words.runs_reading(facts), (*best, two(facts["clean_value"])))
    for direction in ("restore", "corrupt"):
        source, edited = ("A", "B") if direction == "restore" else ("B", "A")
        for part in ("stream", "attn"):
            cells = views.cells(model, trace, other, direction, part)
            sentence = words.map_reading(cells, facts, direction, part, shown)
            yield Said("map_reading", sentence, _of_map(cells, part, source, edited, shown))
        layer, position = map(int, cells[["layer", "position"]].iloc[-1])
        sentence = words.cell_reading(cells, facts, direction, layer, position, shown)
        value = cells["value"].iloc[-1]
        yield Said("cell_reading", sentence, (f"Layer {layer}, “{shown[position]}”", two(value)))
    none = words.cell_reading(cells, facts, "corrupt", 99, 0, shown)
    yield Said("cell_reading", none, ("can change nothing",))
    yield from _of_estimate(run, other, facts)
    yield from _of_two(run, other, facts)
    heads = views.heads(model, trace, other, 0)
    claims: tuple[str, ...] = ()
    if heads["share"].notna().any():
        top = heads.loc[heads["share"].abs().idxmax()]
        faint = abs(top["share"]) < words.FAINT
        claims = ("none moves",) if faint else ("block 0", f"attention head {top['head']} at")
        claims += (two(top["share"]),)
    yield Said("heads_reading", words.heads_reading(heads, facts, "restore", 0, shown), claims)
    if run.last < FEW:
        yield from _of_elsewhere(run)


def _of_elsewhere(run: Run) -> Iterator[Said]:
    frame = read_elsewhere(run.model, run.text, run.last, n_tokens=2)
    top = int(run.trace.logits[-1].argmax())
    own = display_candidate(run.model.decode([top], after=run.trace.token_ids)[0])
    token = f"“{run.shown[run.last]}” (position {run.last})"
    n_layers = frame["layer"].nunique()
    told = elsewhere_words.elsewhere_reading(frame, token, "?")
    yield Said("elsewhere_reading", told, (token, f"“{own}”", f"{n_layers} layers"))
    last = frame[frame["layer"] == run.model.n_layers].iloc[0]
    told = elsewhere_words.elsewhere_cell_reading(frame, run.model.n_layers, 1)
    claims = (f"layer {run.model.n_layers} ", f"“{display_candidate(last['token'])}”")
    yield Said("elsewhere_cell_reading", told, claims)


def _of_estimate(run: Run, other: str, facts: dict[str, Any]) -> Iterator[Said]:
    maps = [view(run.model, run.trace, other) for view in (views.cells, views.estimate)]
    exact, guess = (each.set_index(["layer", "position"])["value"] for each in maps)
    off = (guess - exact).abs()
    layer, position = off.idxmax()
    both = pd.DataFrame({"exact": exact, "estimate": guess}).sub(facts["other_value"])
    wrong = int((off > abs(facts["clean_value"] - facts["other_value"]) / 10).sum())
    claims = (
        f"at layer {layer}, “{run.shown[position]}”",
        f"{wrong} of" if wrong < len(both) else f"all {wrong}",
        two(abs(both.loc[(layer, position), "exact"])),
    )
    sentence = words.estimate_reading(both.reset_index(), facts, run.shown)
    yield Said("estimate_reading", sentence, claims if wrong > 1 else claims[:1])
    failed = views.failures(run.model, run.trace, other, **views.worst_cells(*maps, k=1))
    told = words.failures_reading(failed, facts, "restore", run.shown)
    yield Said("failures_reading", told, (f"layer {layer}", f"“{run.shown[position]}” (pos"))


def _of_two(run: Run, other: str, facts: dict[str, Any]) -> Iterator[Said]:
    cells = [[0, int(facts["first"])], [run.model.n_layers, run.last]]
    row = views.both(run.model, run.trace, other, *cells).iloc[0]
    alone = [row[name] - row["unpatched"] for name in ("first", "second")]
    both = row["both"] - row["unpatched"]
    claims = [two(abs(each)) for each in (*alone, both)]
    # The second cell is what the answer is read from, so beside it no other can matter.
    assert abs(both - alone[1]) < 1e-3
    far = 0.05 * max(abs(facts["clean_value"] - facts["other_value"]), *map(abs, alone))
    if abs(alone[1]) > far and abs(alone[0] - alone[1]) > far:
        claims.append("as the second alone")
    elif abs(alone[1]) > far:
        claims.append("as each of them alone")
    told = words.two_reading(row, facts, cells, run.shown)
    assert "the sum of both" not in told, told
    yield Said("two_reading", told, tuple(claims))


def _of_map(
    cells: pd.DataFrame, part: str, source: str, edited: str, shown: list[str]
) -> tuple[str, ...]:
    if cells["share"].isna().all():
        return ("the same logit",)
    top = cells.loc[cells["share"].abs().idxmax()]
    if part == "attn":
        return (
            f"With {source}'s attention writes put into the run of {edited}",
            f"{two(top['share'])}",
            f"at layer {top['layer']}, “{shown[top['position']]}”",
        )
    low, high = (cells[cells["layer"] == end] for end in (0, cells["layer"].max()))
    best = [each.loc[each["share"].idxmax()] for each in (low, high)]
    ends = [f"“{shown[each['position']]}”" for each in best if each["share"] >= words.FAINT]
    faint = int((cells.groupby("layer")["share"].max() < words.FAINT).sum())
    left = (f"left out: {faint} of",) if faint else ()
    worst = cells.loc[cells["share"].idxmin()]
    if worst["share"] <= -words.FAINT:
        left += (f"Most the other way goes layer {worst['layer']}", two(worst["share"]))
    return (f"Of {source}'s stream put into the run of {edited}", *ends, *left)
