"""How everything here is timed: alternatives take turns, so that both meet the same machine."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

Timed = Callable[[], object]


@dataclass(frozen=True)
class Sample:
    """The seconds that several runs of one thing took."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def p95(self) -> float:
        """95 of 100 runs take no longer; of few runs the slowest."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]

    def as_dict(self) -> dict[str, Any]:
        return {
            "n": len(self.seconds),
            "median": self.median,
            "p95": self.p95,
            "min": min(self.seconds),
            "max": max(self.seconds),
        }


@dataclass(frozen=True)
class Row:
    """One line of the report. `ratio` is ours over the alternative: below 1 ours is faster.

    A row with a bound is `ok` or not; one without says how things are.
    """

    name: str
    ours: Sample
    alternative: Sample | None = None
    against: str = ""  # what the alternative is
    ratio_at_most: float | None = None
    p95_at_most: float | None = None  # seconds

    @property
    def ratio(self) -> float | None:
        """The median ratio of a round where both took turns, else the ratio of the medians.

        What else the machine does changes from minute to minute, and so hits both of a round.
        """
        if self.alternative is None:
            return None
        ours, other = self.ours.seconds, self.alternative.seconds
        if len(ours) != len(other):
            return self.ours.median / self.alternative.median
        return statistics.median(mine / its for mine, its in zip(ours, other, strict=True))

    @property
    def ok(self) -> bool | None:
        """Whether all bounds hold; None where there is none."""
        held = []
        if self.ratio_at_most is not None:
            held.append(self.ratio is not None and self.ratio <= self.ratio_at_most)
        if self.p95_at_most is not None:
            held.append(self.ours.p95 <= self.p95_at_most)
        return all(held) if held else None

    @property
    def bound(self) -> str:
        """The bounds in words."""
        said = []
        if self.ratio_at_most is not None:
            said.append(f"ratio <= {self.ratio_at_most:.2f}")
        if self.p95_at_most is not None:
            said.append(f"p95 <= {in_words(self.p95_at_most)}")
        return ", ".join(said)

    def as_dict(self) -> dict[str, Any]:
        """The row as plain data, times in seconds."""
        other = self.alternative
        return {
            "name": self.name,
            "ours": self.ours.as_dict(),
            "against": self.against,
            "alternative": None if other is None else other.as_dict(),
            "ratio": self.ratio,
            "ratio_of_medians": other and self.ours.median / other.median,
            "ratio_of_fastest": other and min(self.ours.seconds) / min(other.seconds),
            "ratio_at_most": self.ratio_at_most,
            "p95_at_most": self.p95_at_most,
            "ok": self.ok,
        }


def take_turns(timed: Mapping[str, Timed], rounds: int, warm: int = 2) -> dict[str, Sample]:
    """Time each function once a round, the first of the round being another one each time."""
    names = list(timed)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(warm):
        for name in names:
            timed[name]()
    with _no_collections():
        for turn in range(rounds):
            first = turn % len(names)
            for name in [*names[first:], *names[:first]]:
                start = time.perf_counter()
                kept = timed[name]()
                seconds[name].append(time.perf_counter() - start)
                del kept  # giving memory back is not part of the work
    return {name: Sample(tuple(taken)) for name, taken in seconds.items()}


def table(rows: list[Row]) -> str:
    """The report as text: medians (and the 95th percentile where that is bounded) side by side."""
    header = ("name", "ours", "alternative", "ratio", "bound", "ok")
    cells = [header, *map(_cells, rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in cells]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)


def in_words(seconds: float) -> str:
    """A duration with a unit that suits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"


def _cells(row: Row) -> tuple[str, ...]:
    ours = in_words(row.ours.median)
    if row.p95_at_most is not None:
        ours += f" (p95 {in_words(row.ours.p95)})"
    other = "" if row.alternative is None else f"{in_words(row.alternative.median)} {row.against}"
    ratio = "" if row.ratio is None else f"{row.ratio:.3g}"
    return row.name, ours, other, ratio, row.bound, {True: "ok", False: "NO", None: ""}[row.ok]


@contextmanager
def _no_collections() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
