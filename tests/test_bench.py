"""The benches run and report; no test here depends on how long anything takes."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bench import classroom
from bench.__main__ import BENCHES, bench, main
from bench.classroom import growth
from bench.classroom_play import question_of
from bench.measure import Row, Sample, in_words, table, take_turns
from bench.text import EIGHT, prompt_of
from tests import tiny
from tests.browser.server import WITHOUT_A_PROCESS

IN_PROCESS = (
    "capture",
    "lens",
    "check",
    "batching",
    "cache",
    "chart",
    "geometry",
    "lens_grid",
    "sweep",
    "patching",
    "sets",
    "jacobian",
    "maps",
)


@pytest.fixture
def catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalogue of one tiny model, long enough for every prompt of the benches."""
    folder = tiny.save("llama", tmp_path / "tiny", max_position_embeddings=1024)
    listed = tmp_path / "models.toml"
    listed.write_text(
        f'[[model]]\nid = "tiny"\nsource = "folder"\npath = "{folder}"\nlicence = "none"\n'
    )
    monkeypatch.setenv("STRATA_MODELS", str(listed))
    return listed


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRATA_HOME", str(tmp_path / "home"))


def test_every_bench_has_a_function_that_says_what_it_measures() -> None:
    assert all(bench(name).__doc__ for name in BENCHES)


def test_benches_of_this_process_report_every_row(
    catalogue: Path, home: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "report.json"
    options = [word for name in IN_PROCESS for word in ("--only", name)]
    assert main([*options, "--quick", "--json", str(file)]) in (0, 1)
    report = json.loads(file.read_text("utf-8"))
    assert report["model"] == "tiny"
    assert report["busy_before"] >= 0
    assert report["versions"]["torch"].startswith("2.")
    rows = report["rows"]
    assert [row["name"].split(",")[0] for row in rows[:-1]] == [
        *["capture"] * 3,
        "lens",
        "self-check",
        *["eight waiting prompts"] * 2,
        *["known answer"] * 2,
        "chart of ten bars",
        "slider over a million pairs",
        "another layer",
        "the whole model at a glance",
        "lens top 5",
        "grid with entropy",
        *["sweep over 3 blocks"] * 2,
        *["patch map"] * min(2, os.cpu_count() or 1),
        "a set of 48 prompts",
        "all that one run gives of 48 prompts",
        "16 rows of a Jacobian",
        "a word's beam over 1 passage",
    ]
    assert rows[-1]["name"].startswith("map of ")
    assert all(row["ours"]["min"] > 0 and row["ratio"] != 0 for row in rows)
    one_core = os.cpu_count() == 1  # else the patch map's bound is on two threads
    bounded = (
        "capture",
        "eight",
        "slider",
        "another",
        "the whole",
        "lens top",
        "sweep",
        "patch",
        "a set",
        "16 rows",
        "a word",
        "map",
    )
    assert {row["name"] for row in rows if row["ok"] is not None} == {
        row["name"]
        for row in rows
        if row["name"].startswith(bounded) and (one_core or "1 thread" not in row["name"])
    }
    from umap import layouts

    # What is compiled for maps is kept: else every server does that anew.
    assert layouts._nb_optimize_layout_euclidean_single_epoch.stats.cache_path
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == ["name", "ours", "alternative", "ratio", "bound", "ok"]
    assert printed[-1].startswith("The machine") or len(printed) == 2 + len(rows)


def test_benches_of_a_server_report_every_row(catalogue: Path, home: None, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    arguments = ["--only", "views", "--only", "startup", "--quick", "--json", str(file)]
    assert main(arguments) in (0, 1)
    rows = json.loads(file.read_text("utf-8"))["rows"]
    bounded = {row["name"]: row["p95_at_most"] for row in rows if row["p95_at_most"]}
    assert bounded == {
        "position slider, predictions": 0.15,
        "position slider, hidden_states": 0.15,
        "another tab, hidden_states": 0.15,
        "process start to /readyz": 10.0,
    }
    loads = [row for row in rows if row["name"].startswith("load_model")]
    assert [row["alternative"] for row in loads] == [None, None]  # no GGUF file with --quick


def test_memory_grows_by_what_stays_not_by_what_comes_and_goes() -> None:
    steady = [100.0] * 40
    assert growth([*steady, *[130.0] * 40]) == 30.0
    assert growth([*steady, 500.0, *steady, 500.0]) == 0.0
    assert growth([100.0, 100.0, 160.0]) == 60.0
    assert growth([100.0]) == growth([]) == 0.0


def test_a_class_plays_and_loses_nothing(
    catalogue: Path,
    home: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "class.json"
    for name, value in WITHOUT_A_PROCESS.items():
        monkeypatch.setenv(name, value)
    with ThreadPoolExecutor() as apart:  # a browser of other tests keeps an event loop in this one
        apart.submit(classroom.main, ["--quick", "--json", str(file)]).result()
    printed = capsys.readouterr().out
    report = json.loads(file.read_text("utf-8"))
    assert report["errors"] == {}
    assert report["lost"] == []
    assert report["environment"]["STRATA_MODE"] == "class"
    assert "secret" not in file.read_text("utf-8").lower().replace("teacher_secret", "")
    kinds = {row["name"]: row["ours"]["n"] for row in report["rows"]}
    assert kinds["enter: page"] == 2
    assert report["actions"] > 0  # how many depends on the machine
    assert report["server_cpu"] > 0
    assert "p99" in printed


def test_a_field_tells_its_question() -> None:
    assert question_of("guess_predictions_0_0") == "predictions_0"
    assert question_of("guess_hidden_states_2_0_0_3") == "hidden_states_2"
    assert question_of("guess_capstone_11_1") == "capstone_11"


def test_a_page_that_refuses_is_not_timed(small_address: str) -> None:
    from bench.visitor import Visitor

    with Visitor(small_address, "predictions", "example=long") as visitor:
        assert visitor.last > 30
        assert visitor.slide("at", 3) > 0
        with pytest.raises(RuntimeError, match="did not run to its end"):
            visitor.write("text_1", "", "look_inside")  # the first of its boxes


def test_alternatives_take_turns() -> None:
    calls: list[str] = []
    samples = take_turns(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=2, warm=1
    )
    assert "".join(calls) == "ab" + "ab" + "ba"
    assert [len(sample.seconds) for sample in samples.values()] == [2, 2]


def test_ratio_compares_what_ran_in_the_same_round() -> None:
    ours, other = Sample((1.0, 2.2, 30.0)), Sample((1.0, 2.0, 10.0))
    assert Row("x", ours, other).ratio == pytest.approx(1.1)
    assert Row("x", ours, Sample((2.0,))).ratio == pytest.approx(1.1)
    assert Row("x", ours).ratio is None


@pytest.mark.parametrize(
    ("row", "ok"),
    [
        (Row("x", Sample((1.0,))), None),
        (Row("x", Sample((1.0,)), Sample((1.0,)), ratio_at_most=1.0), True),
        (Row("x", Sample((1.1,)), Sample((1.0,)), ratio_at_most=1.0), False),
        (Row("x", Sample((0.1,) * 9 + (2.0,)), p95_at_most=1.0), False),
        (Row("x", Sample((0.1,) * 40 + (2.0,)), p95_at_most=1.0), True),
    ],
)
def test_bounds(row: Row, ok: bool | None) -> None:
    assert row.ok is ok
    assert json.loads(json.dumps(row.as_dict()))["ok"] is ok


def test_table_shows_what_is_not_met() -> None:
    rows = [
        Row("slow", Sample((0.3,)), Sample((0.1,)), "the other", ratio_at_most=1.5),
        Row("page", Sample((0.1,)), p95_at_most=0.15),
    ]
    slow, page = table(rows).splitlines()[2:]
    assert slow.split() == "slow 300 ms 100 ms the other 3 ratio <= 1.50 NO".split()
    assert page.split() == "page 100 ms (p95 100 ms) p95 <= 150 ms ok".split()


def test_durations_have_a_unit_that_suits_them() -> None:
    assert [in_words(s) for s in (12.3456, 0.15, 2e-6)] == ["12.3 s", "150 ms", "2 µs"]


def test_prompts(tiny_folder) -> None:  # type: ignore[no-untyped-def]
    from strata.model import load_model

    model = load_model(str(tiny_folder("llama")))
    assert 40 < len(model.encode(prompt_of(model, 50))) <= 50
    assert len(set(EIGHT)) == 8
