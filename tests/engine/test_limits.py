"""What a learner may ask for is checked on the job, whatever a page or a forged message says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Timer

import pandas as pd
import pytest

from strata.concepts import apart
from strata.engine import Job, Limits, LocalEngine, Settings, open_engine
from strata.errors import BusyError, InputError
from tests.engine.fakes import PATIENCE, Clock, FakeModel, Gate, clock_of, engine, hold, job

TEXTS = {"corpus": "own"}


def sampled(sample: object = None) -> pd.DataFrame:
    return pd.DataFrame({"sampled": [True]})


def drawn(prompts: tuple[str, ...], sample: object = None) -> pd.DataFrame:
    return pd.DataFrame({"characters": [sum(map(len, prompts))]})


@pytest.fixture
def held() -> Iterator[LocalEngine]:
    """An engine in whose class "ann" learns: one model, prompts of 3 words and 20 characters."""
    limits = Limits(frozenset({"fake"}), prompt_characters=20, prompt_tokens=3)
    with engine(limits={"ann": limits}) as made:
        yield made


def refusal(made: LocalEngine, learner: str | None, asked: Job) -> str:
    """What the learner is told of a job that is refused, at once or when its turn has come."""
    with pytest.raises(InputError) as told:
        made.submit(asked, learner).result(PATIENCE)
    return str(told.value)


# -- models and prompts -------------------------------------------------------------------------


def test_a_class_held_with_one_model_gets_no_other(held: LocalEngine) -> None:
    for asked in (job("plain", model="other"), job("plain", model="../fake", params={"number": 1})):
        assert "works with fake only" in refusal(held, "ann", asked)
        assert held.status(asked.model).state == "absent", "nor is it loaded"
    with pytest.raises(InputError, match="works with fake only, not with 'other'"):
        held.ensure("other", "ann")
    assert held.status("other").state == "absent"
    held.run(job("plain", model="other"), "bob")
    assert "works with fake only" in refusal(held, "ann", job("plain", model="other"))  # known now
    held.ensure("fake", "ann")
    assert len(held.run(job("plain"), "ann")) == 1


def test_a_prompt_is_too_long_in_characters_for_a_class(held: LocalEngine) -> None:
    told = "21 characters and the limit is 20"
    assert told in refusal(held, "ann", job("plain", "x" * 21))
    assert told in refusal(held, "ann", job("texts", prompts=("x", "y" * 21)))
    assert "1,000,000 characters" in refusal(held, "ann", job("words", "\u202e" * 1_000_000))
    assert len(held.run(job("plain", "x" * 21), "bob")) == 1
    assert len(held.run(job("plain", "x" * 21))) == 1


@pytest.mark.parametrize("asked", [job("plain", "a b c d"), job("words", "a b c d")])
def test_a_prompt_is_too_long_in_tokens_for_a_class(held: LocalEngine, asked: Job) -> None:
    told = "The prompt has 4 tokens and the limit is 3; shorten it."
    assert refusal(held, "ann", asked) == told
    assert len(held.run(asked, "bob"))
    assert refusal(held, "ann", asked) == told, "nor is the answer for another given away"
    assert len(held.run(job("words", "a b c"), "ann")) == 3


def test_every_prompt_of_a_job_is_counted(held: LocalEngine) -> None:
    told = "has 4 tokens and the limit is 3"
    assert told in refusal(held, "ann", job("texts", "", prompts=("a", "a b c d", "b")))
    assert told in refusal(held, "ann", job("texts", "a b c d", prompts=("a",)))
    assert len(held.run(job("texts", "", prompts=("a", "a b c")), "ann")) == 2


def test_the_server_may_have_a_limit_in_tokens_for_all() -> None:
    limits = {"ann": Limits(prompt_tokens=3), "bob": Limits(prompt_tokens=500)}
    with engine(limits=limits, prompt_tokens=5) as made:
        for learner, limit in (("ann", 3), ("bob", 5), ("cleo", 5), (None, 5)):
            assert made.limits(learner).prompt_tokens == limit
            told = f"has 6 tokens and the limit is {limit}"
            assert told in refusal(made, learner, job("plain", "a b c d e f"))


def test_a_refusal_is_for_those_whom_it_concerns(gate: Gate) -> None:
    limits = {"ann": Limits(prompt_tokens=3), "bob": Limits(prompt_tokens=4)}
    with engine({"gate": gate.view}, limits=limits) as made:
        hold(made, gate)
        futures = {who: made.submit(job("plain", "a b c d"), who) for who in ("ann", "bob")}
        gate.open.set()
        assert len(futures["bob"].result(PATIENCE)) == 1
        with pytest.raises(InputError, match="limit is 3"):
            futures["ann"].result(PATIENCE)


def test_who_comes_late_to_a_prompt_that_is_too_long_is_refused_at_once(gate: Gate) -> None:
    with engine({"gate": gate.view}, limits={"ann": Limits(prompt_tokens=3)}) as made:
        made.submit(job("gate", "a b c d"), "bob")
        assert gate.started.wait(PATIENCE)
        with pytest.raises(InputError, match="limit is 3"):
            made.submit(job("gate", "a b c d"), "ann")
        gate.open.set()


def test_a_refused_prompt_is_not_run(gate: Gate) -> None:
    model = FakeModel()
    limits = {"ann": Limits(prompt_tokens=3)}
    with engine(load=lambda name, progress: model, limits=limits) as made:
        refusal(made, "ann", job("words", "a b c d"))
        made.run(job("words", "a"), "ann")
    assert model.called("capture") == [("a",)]


def test_a_text_to_sample_from_has_its_own_limit_and_its_prompt_keeps_the_usual_one() -> None:
    views = {"drawn": drawn, "plain": lambda prompt: pd.DataFrame({"text": [prompt]})}
    limits = {"ann": Limits(prompt_characters=20, prompt_tokens=3)}
    model = FakeModel()
    with engine(views, lambda name, progress: model, limits=limits, sample_characters=100) as made:
        for asked in (
            job("drawn", "", prompts=("x" * 60, "y" * 41), sample=TEXTS),
            job("drawn", "", prompts=("x" * 10_000_000,), sample=TEXTS),
        ):
            assert "The text has" in refusal(made, "ann", asked)
        wide = job("drawn", "x" * 21, prompts=("y",), sample=TEXTS)
        assert "21 characters and the limit is 20" in refusal(made, "ann", wide)
        unused = job("plain", "x" * 21, sample=TEXTS)  # a sample that the view does not ask for
        assert "21 characters and the limit is 20" in refusal(made, "ann", unused)


@pytest.mark.parametrize(
    "params",
    [{"number": "1"}, {"number": 1.5}, {"numbers": 1}, {"number": True}, {"prompt": "other"}],
)
def test_forged_params_are_refused_for_a_class(
    held: LocalEngine, params: dict[str, object]
) -> None:
    assert refusal(held, "ann", job("plain", params=params)).startswith("plain")


def test_limits_are_numbers_from_one_and_never_go_beyond_the_servers() -> None:
    for value in (0, -1, True, 1.5, "3"):
        with pytest.raises(InputError, match="'prompt_tokens' must be a number from 1"):
            Limits(prompt_tokens=value)  # type: ignore[arg-type]
    settings = Settings(prompt_tokens=100)
    generous = Limits(None, 10**9, 10**9, 10**9, 10**9, 10**9).within(settings)
    assert generous == Limits().within(settings)
    assert generous.in_flight == Settings().per_learner
    with open_engine(Settings(), {"ann": Limits(in_flight=1)}.get) as made:
        assert made.limits("ann").in_flight == 1
        assert made.limits(None).in_flight is None


# -- how many -----------------------------------------------------------------------------------


def test_a_class_may_have_fewer_jobs_in_flight(gate: Gate) -> None:
    with engine({"gate": gate.view}, limits={"ann": Limits(in_flight=1)}) as made:
        made.submit(job("gate"), "ann")
        with pytest.raises(BusyError, match="already have 1"):
            made.submit(job("plain"), "ann")
        made.submit(job("plain"), "bob")
        gate.open.set()


def test_jobs_that_are_computed_come_from_a_bucket() -> None:
    clock = Clock()
    with engine(clock=clock, burst=3, per_minute=6) as made:
        for text in "abc":
            made.run(job("plain", text), "ann")
        with pytest.raises(BusyError, match="can begin in 10 seconds") as told:
            made.run(job("plain", "d"), "ann")
        assert told.value.seconds == pytest.approx(10)
        assert len(made.run(job("plain", "a"), "ann")) == 1, "what is known costs nothing"
        assert len(made.run(job("plain", "d"), "bob")) == 1
        assert len(made.run(job("plain", "d"), "ann")) == 1
        for text in range(10):
            made.run(job("plain", f"nobody's {text}"))
        clock.now += 10
        made.run(job("plain", "e"), "ann")
        with pytest.raises(BusyError):
            made.run(job("plain", "f"), "ann")


def test_a_class_may_have_a_smaller_bucket() -> None:
    with engine(clock=Clock(), limits={"ann": Limits(burst=1, per_minute=60)}) as made:
        made.run(job("plain", "a"), "ann")
        with pytest.raises(BusyError, match=r"can begin in 1 second\."):
            made.run(job("plain", "b"), "ann")
        for text in "bcd":
            made.run(job("plain", text), "bob")


def test_what_is_refused_or_shared_takes_nothing_from_the_bucket(gate: Gate) -> None:
    with engine({"gate": gate.view}, clock=Clock(), burst=1, queue_size=1) as made:
        hold(made, gate)
        others = made.submit(job("plain", "theirs"), "bob")
        with pytest.raises(BusyError, match="already waiting"):
            made.submit(job("words", "mine"), "ann")
        shared = made.submit(job("plain", "theirs"), "ann")
        others.cancel()
        gate.open.set()
        assert len(shared.result(PATIENCE)) == 1
        assert len(made.run(job("words", "mine"), "ann")) == 1


# -- turns --------------------------------------------------------------------------------------


def order(made: LocalEngine) -> str:
    with made.desk.lock:
        return " ".join(work.job.prompt for work in made._owners["fake"].line.works)


@pytest.fixture
def several(gate: Gate) -> Iterator[LocalEngine]:
    """An engine that is busy, with views v0 to v3."""

    def view(prompt: str) -> pd.DataFrame:
        return pd.DataFrame({"text": [prompt]})

    views: dict[str, Callable[..., pd.DataFrame]] = {f"v{i}": view for i in range(4)}
    with engine({"gate": gate.view, **views}, clock=Clock()) as made:
        hold(made, gate)
        yield made
        gate.open.set()


def test_learners_take_turns(several: LocalEngine) -> None:
    for i in range(4):
        several.submit(job(f"v{i}", f"ann{i}"), "ann")
    several.submit(job("v0", "bob0"), "bob")
    several.submit(job("v0", "cleo0"), "cleo")
    last = several.submit(job("v1", "bob1"), "bob")
    several.submit(job("v1", "nobody"))
    assert order(several) == "ann0 bob0 cleo0 nobody ann1 bob1 ann2 ann3"
    assert last.position == 5


def test_who_has_had_a_turn_goes_behind_those_who_wait(several: LocalEngine) -> None:
    futures = [several.submit(job(f"v{i}", f"ann{i}"), "ann") for i in range(3)]
    several.submit(job("v0", "bob0"), "bob")
    with several.desk.lock:
        taken = several.desk.take(several._owners["fake"].line)
    assert taken is not None
    assert taken.job.prompt == "ann0"
    several.submit(job("v0", "cleo0"), "cleo")  # a newcomer does not overtake ann's next one
    assert order(several) == "bob0 ann1 cleo0 ann2"
    futures[1].cancel()
    assert order(several) == "bob0 cleo0 ann2"
    several.desk.finish(taken, None, InputError("put back"))


def test_a_newer_job_instead_of_an_older_one_is_not_put_behind(several: LocalEngine) -> None:
    for text in ("older", "newer", "newest"):
        several.submit(job("v0", text), "ann")
    several.submit(job("v0", "bob0"), "bob")
    assert order(several) == "newest bob0"


def test_asking_for_the_same_as_another_is_never_slower_than_asking_alone(
    several: LocalEngine,
) -> None:
    for i in range(3):
        several.submit(job(f"v{i}", f"ann{i}"), "ann")
    several.submit(job("v0", "bob0"), "bob")
    shared = several.submit(job("v2", "ann2"), "cleo")
    assert order(several) == "ann0 bob0 ann2 ann1"
    assert shared.position == 2


# -- how long -----------------------------------------------------------------------------------


def passed(made: LocalEngine, gate: Gate, seconds: float) -> None:
    """The running work has taken so long and ends."""
    clock_of(made).now += seconds
    gate.open.set()


def test_a_place_comes_with_a_time(gate: Gate, gated: LocalEngine) -> None:
    running = hold(gated, gate)
    waiting = gated.submit(job("plain", "a"))
    assert (running.seconds, waiting.seconds) == (None, None), "nothing has been timed yet"
    passed(gated, gate, 4)
    _ = waiting.result(PATIENCE), running.result(PATIENCE)
    assert waiting.seconds is None
    assert gated._owners["fake"].line.pace.of("gate") == 4


def test_seconds_are_the_rest_of_what_runs_and_all_that_is_ahead() -> None:
    gates, clock = [Gate() for _ in range(3)], Clock()

    def view(prompt: str, progress: Callable[[float, str], None]) -> pd.DataFrame:
        return gates[int(prompt)].view(prompt, progress)

    with engine({"slow": view, "fast": view}, clock=clock) as made:
        for number, name, seconds in ((0, "slow", 8), (1, "fast", 1)):
            future = made.submit(job(name, str(number)))
            assert gates[number].started.wait(PATIENCE)
            passed(made, gates[number], seconds)
            future.result(PATIENCE)
        running = made.submit(job("slow", "2"))
        assert gates[2].started.wait(PATIENCE)
        names = ("slow", "fast", "plain")
        waiting = [made.submit(job(name, f"{i} wait"), f"w{i}") for i, name in enumerate(names)]
        assert [f.seconds for f in (running, *waiting)] == pytest.approx([None, 8, 16, 17])
        clock.now += 3
        assert waiting[0].seconds == pytest.approx(5)
        clock.now += 30  # longer than expected
        assert waiting[0].seconds == pytest.approx(0)
        Timer(0.2, gates[2].open.set).start()  # closing waits for what runs
        made.close()
        assert waiting[0].seconds is None


def test_recent_works_count_for_more_and_failures_do_not_count() -> None:
    clock, took = Clock(), [10.0]

    def timed(prompt: str) -> pd.DataFrame:
        clock.now += took[0]
        if prompt == "bad":
            raise InputError("no")
        return pd.DataFrame({"text": [prompt]})

    with engine({"timed": timed}, clock=clock) as made:
        made.run(job("timed", "a"))
        pace = made._owners["fake"].line.pace
        assert pace.of("timed") == pace.of("never seen") == 10
        took[0] = 0.0
        made.run(job("timed", "b"))
        assert pace.of("timed") == pytest.approx(8)
        with pytest.raises(InputError):
            made.run(job("timed", "bad"))
        assert pace.of("timed") == pytest.approx(8)


def test_a_view_that_goes_on_apart_does_not_hold_the_line(gate: Gate) -> None:
    clock = Clock()

    def view(prompt: str, progress: Callable[[float, str], None]) -> pd.DataFrame:
        return gate.view(prompt, progress)

    with engine({"apart": apart(view)}, clock=clock) as made:
        future = made.submit(job("apart"))
        assert gate.started.wait(PATIENCE)
        assert made._owners["fake"].line.running is None
        assert made._owners["fake"].line.pace.of("apart") == 0
        clock.now += 50
        gate.open.set()
        future.result(PATIENCE)
        assert made._owners["fake"].line.pace.of("apart") == 0


def test_no_time_is_told_while_the_model_loads() -> None:
    gate = Gate()

    def load(name: str, progress: Callable[[float, str], None]) -> FakeModel:
        gate.started.set()
        assert gate.open.wait(PATIENCE)
        return FakeModel(name)

    with engine(load=load) as made:
        future = made.submit(job("plain"))
        assert gate.started.wait(PATIENCE)
        assert future.seconds is None
        gate.open.set()
        future.result(PATIENCE)


def test_a_full_queue_says_when_to_try_again() -> None:
    gates, clock = [Gate() for _ in range(2)], Clock()

    def view(prompt: str, progress: Callable[[float, str], None]) -> pd.DataFrame:
        return gates[int(prompt)].view(prompt, progress)

    with engine({"view": view}, clock=clock, queue_size=1) as made:
        first = made.submit(job("view", "0"))
        assert gates[0].started.wait(PATIENCE)
        waiting = made.submit(job("plain"))
        with pytest.raises(BusyError, match=r"1 job is already waiting.* in a moment") as told:
            made.submit(job("words"))
        assert told.value.seconds is None
        passed(made, gates[0], 12)
        first.result(PATIENCE)
        waiting.result(PATIENCE)
        made.submit(job("view", "1"))
        assert gates[1].started.wait(PATIENCE)
        clock.now += 2.5
        made.submit(job("plain", "other"))
        with pytest.raises(BusyError, match="try again in about 10 seconds") as told:
            made.submit(job("words"))
        assert told.value.seconds == pytest.approx(9.5)
        gates[1].open.set()
