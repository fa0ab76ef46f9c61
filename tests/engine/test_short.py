"""A long view lets one that is short go first, between any two of its steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Event

import pandas as pd
import pytest
import torch

from strata.engine import Future, LocalEngine
from strata.trace import Trace
from tests.engine.fakes import PATIENCE, Clock, engine, job


class Steps:
    """A view of four steps, each of which waits until it may go on."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.at, self.go_on = clock, 0, [Event() for _ in range(4)]
        self.reached = [Event() for _ in range(4)]
        self.saw: list[str] = []

    @torch.inference_mode()
    def view(self, prompt: str, progress: Callable[[float, str], None]) -> pd.DataFrame:
        for number in range(4):
            self.reached[number].set()
            assert self.go_on[number].wait(PATIENCE)
            self.clock.now += 10
            progress(number / 4, f"step {number}")
            assert torch.is_inference_mode_enabled()
        return pd.DataFrame({"text": [prompt]})


@pytest.fixture
def steps() -> Steps:
    return Steps(Clock())


@pytest.fixture
def stepped(steps: Steps) -> Iterator[LocalEngine]:
    def gradient(trace: Trace) -> pd.DataFrame:
        """What needs autograd, and costs three seconds."""
        steps.clock.now += 3
        number = torch.ones(1, requires_grad=True)
        (number * 2).sum().backward()
        steps.saw.append(trace.text)
        return pd.DataFrame({"text": [trace.text], "slope": [float(number.grad[0])]})

    views = {"steps": steps.view, "gradient": gradient}
    with engine(views, clock=steps.clock) as made:
        yield made
        for each in steps.go_on:
            each.set()


def begun(made: LocalEngine, steps: Steps) -> Future:
    long = made.submit(job("steps", "long"), "eve")
    assert steps.reached[0].wait(PATIENCE)
    return long


def test_one_short_work_a_step(stepped: LocalEngine, steps: Steps) -> None:
    long = begun(stepped, steps)
    short = [stepped.submit(job("gradient", name), name) for name in ("ann", "ben")]
    another = stepped.submit(job("steps", "another long"), "tom")
    steps.go_on[0].set()
    assert short[0].result(PATIENCE)["slope"].tolist() == [2.0]
    assert steps.reached[1].wait(PATIENCE)
    assert not short[1].done(), "the long one goes on between two short ones"
    assert not long.done()
    assert long.position == 0
    steps.go_on[1].set()
    assert len(short[1].result(PATIENCE)) == 1
    for each in steps.go_on:
        each.set()
    assert len(long.result(PATIENCE)) == 1
    assert len(another.result(PATIENCE)) == 1
    assert steps.saw == ["ann", "ben"]


def test_the_times_of_both_are_their_own(stepped: LocalEngine, steps: Steps) -> None:
    long = begun(stepped, steps)
    short = stepped.submit(job("gradient", "ann"), "ann")
    for each in steps.go_on:
        each.set()
    short.result(PATIENCE)
    long.result(PATIENCE)
    pace = stepped._owners["fake"].line.pace
    assert pace.of("gradient") == 3
    assert pace.of("steps") == 40


def test_an_error_of_the_short_one_is_its_own(stepped: LocalEngine, steps: Steps) -> None:
    long = begun(stepped, steps)
    short = stepped.submit(job("gradient", "unreadable"), "ann")
    for each in steps.go_on:
        each.set()
    with pytest.raises(Exception, match="cannot be read"):
        short.result(PATIENCE)
    assert len(long.result(PATIENCE)) == 1
