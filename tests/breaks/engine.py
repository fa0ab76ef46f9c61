"""Faults of the engine: caches, queues, limits, the model's process."""

from __future__ import annotations

from tests.breaks import Break

BREAKS: tuple[Break, ...] = (
    Break(
        name="runs are kept without their edits",
        fault="A run that somebody edited is kept as the clean run of its prompt, for everyone.",
        file="strata/engine/supply.py",
        old="self.house.traces.put((self.name, prompt, edits), trace)",
        new="self.house.traces.put((self.name, prompt, ()), trace)",
        tests=("tests/engine/test_batches.py::test_edited_and_known_traces_are_not_batched",),
    ),
    Break(
        name="a job's key leaves its edits out",
        fault="Who asks for an edited run is given the table of the clean one.",
        file="strata/engine/job.py",
        old='return _canonical({**dict(self), "edits": list(map(data_of, self.edits))})',
        new='return _canonical({**dict(self), "edits": []})',
        tests=("tests/engine/test_job.py::test_every_field_counts",),
    ),
    Break(
        name="an edit's key leaves its kind out",
        fault="Who takes a direction out of a run is given the table of one that adds it.",
        file="strata/edit_fields.py",
        old='return {"kind": edit.kind, **plain}',
        new="return plain",
        tests=("tests/engine/test_job.py::test_every_kind_of_edit_has_a_key_of_its_own",),
    ),
    Break(
        name="learners do not take turns",
        fault="Who asks for four things at once is served four times before the next learner.",
        file="strata/engine/line.py",
        old="seen[name] += 1",
        new="seen[name] += 0",
        tests=("tests/engine/test_limits.py::test_learners_take_turns",),
    ),
    Break(
        name="what is typed is in the way of a class",
        fault="What is asked while somebody types keeps its place when others want the model.",
        file="strata/engine/desk.py",
        old="        if not new.spare:\n            self._shed(new.line)\n",
        new="",
        tests=("tests/engine/test_spare.py::test_a_spare_job_makes_way_for_any_other",),
    ),
    Break(
        name="what is typed is kept",
        fault="The run of a text that somebody only typed stays in the cache of runs.",
        file="strata/engine/supply.py",
        old="            [trace] = self._run([job.prompt], job.edits)\n            return trace",
        new="            return self._capture(job.prompt, job.edits)",
        tests=("tests/engine/test_spare.py::test_nothing_of_a_spare_job_is_kept",),
    ),
    Break(
        name="giving up stops nothing",
        fault="A computation goes on to its end though the last who waited for it has left.",
        file="strata/engine/desk.py",
        old="            work.stopped = True\n            self._forget(work)",
        new="            self._forget(work)",
        tests=(
            "tests/engine/test_waiting.py::"
            "test_running_work_stops_at_its_next_word_after_the_last_waiter_left",
        ),
    ),
    Break(
        name="a table is shared by all who asked",
        fault="What one learner's page writes into a table is in everybody else's.",
        file="strata/engine/desk.py",
        old="return self._frame.copy()  # deep",
        new="return self._frame  # deep",
        tests=(
            "tests/engine/test_local.py::test_a_result_that_was_written_to_reaches_nobody_else",
        ),
    ),
    Break(
        name="a busy model is evicted",
        fault="A model that is answering somebody is thrown out to make room for another.",
        file="strata/engine/owner.py",
        old='return self.status.state == "ready" and not (busy or self.line.works)',
        new='return self.status.state == "ready" and not self.line.works',
        tests=("tests/engine/test_models.py::test_a_busy_model_is_not_evicted",),
    ),
    Break(
        name="a cache grows without end",
        fault="What is kept of earlier runs is bounded by its number and not by its bytes.",
        file="strata/engine/cache.py",
        old="getsizeof=lambda i: i[1])",
        new="getsizeof=lambda i: 1)",
        tests=("tests/engine/test_cache.py::test_the_bound_holds_whatever_is_put_in",),
    ),
    Break(
        name="the model's process forgets edits",
        fault="Where the model has a process of its own, every edited run is the clean one.",
        file="strata/engine/runner.py",
        old="[model.capture(prompts[0], edits)] if edits else model.capture_many(prompts)",
        new="model.capture_many(prompts)",
        tests=("tests/engine/test_runner.py::test_the_process_captures_what_the_model_does",),
    ),
    Break(
        name="a failed load is tried at every question",
        fault="A model that cannot be loaded is loaded again for each learner who asks.",
        file="strata/engine/local.py",
        old="error, self.clock() + self.settings.retry_seconds",
        new="error, self.clock()",
        tests=(
            "tests/engine/test_models.py::"
            "test_a_failed_load_is_remembered_and_tried_again_after_a_time",
        ),
    ),
    Break(
        name="a class's limit of tokens is not its own",
        fault="A teacher's limit on the length of prompts holds for nobody.",
        file="strata/engine/limits.py",
        old="_stricter(self.prompt_tokens, settings.prompt_tokens)",
        new="settings.prompt_tokens",
        tests=("tests/engine/test_limits.py::test_a_prompt_is_too_long_in_tokens_for_a_class",),
    ),
)
