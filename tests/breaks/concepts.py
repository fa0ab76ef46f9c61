"""Faults of the numbers: the model's runs, and what concepts make of them."""

from __future__ import annotations

from tests.breaks import Break

BREAKS: tuple[Break, ...] = (
    Break(
        name="hooks stay on the model",
        fault="An edit outlives its run, so the next learner's clean run is edited too.",
        file="strata/model/hooks.py",
        old="for handle in self._handles:",
        new="for handle in self._handles[:1]:",
        tests=("tests/model/test_model.py::test_an_edited_run_leaves_the_next_one_clean",),
    ),
    Break(
        name="hooks hear other threads' runs",
        fault="An edit changes the run that another learner makes at the same time.",
        file="strata/model/blocks.py",
        old="if get_ident() == thread:",
        new="if thread:",
        tests=("tests/engine/test_quick.py::test_runs_of_two_threads_do_not_meet",),
    ),
    Break(
        name="positions begin anew while generating",
        fault="In a continuation an edit of one position meets other positions as well.",
        file="strata/model/hooks.py",
        old="start = self._span.stop if length == 1 else 0",
        new="start = 0",
        tests=(
            "tests/model/test_architecture.py::test_generate_with_a_cache_equals_the_loop_without",
        ),
    ),
    Break(
        name="a block that is left out still writes",
        fault="The stream goes round a block, and its writes are shown as if it had added them.",
        file="strata/model/hooks.py",
        old="self.writes[:, block, :, operation.where(self._span)] = 0",
        new="pass",
        tests=(
            "tests/model/test_edits.py::test_skip_leaves_the_stream_and_both_writes_at_nothing",
        ),
    ),
    Break(
        name="noise is larger than what it is the control of",
        fault="Random pushes replace the whole stream, so that any scaling seems to stand out.",
        file="strata/concepts/scaling/controls.py",
        old="Noise(block, part, seed, where, number)",
        new="Noise(block, part, seed, where)",
        tests=("tests/concepts/scaling/test_controls.py::test_every_row_is_a_run_by_plain_hooks",),
    ),
    Break(
        name="the final norm is applied twice",
        fault="Every state is read as logits through two norms, as the common mistake does.",
        file="strata/model/architecture.py",
        old="return self._finished(self.head(self.norm(hidden)))",
        new="return self._finished(self.head(self.norm(self.norm(hidden))))",
        tests=(
            "tests/model/test_architecture.py::test_unembed_is_the_norm_and_head_at_every_state",
        ),
    ),
    Break(
        name="surprisal is read one row too late",
        fault="A token's surprisal comes from the distribution after it, not from that before it.",
        file="strata/concepts/predictions/tables.py",
        old="trace.logits[:-1].split(at_once), trace.token_ids",
        new="trace.logits[1:].split(at_once), trace.token_ids",
        tests=(
            "tests/concepts/predictions/test_predictions.py::test_surprisal_reads_the_row_before",
        ),
    ),
    Break(
        name="a strided grid ends before the last layer",
        fault="With every third layer shown the lens leaves out the one that the model speaks by.",
        file="strata/concepts/reading.py",
        old="rows = [*range(0, len(self.layers) - 1, stride), len(self.layers) - 1]",
        new="rows = [*range(0, len(self.layers), stride)]",
        tests=(
            "tests/concepts/logit_lens/test_lens_grid.py::"
            "test_a_window_and_a_stride_leave_the_numbers_alone_and_keep_the_last",
        ),
    ),
    Break(
        name="centring takes the wrong mean",
        fault="Each state loses its own mean over dimensions, not the mean over the tokens.",
        file="strata/concepts/laminar_profile/tables.py",
        old="return states - states.mean(axis=0) if",
        new="return states - states.mean(axis=1, keepdims=True) if",
        tests=(
            "tests/concepts/laminar_profile/test_laminar_profile.py::"
            "test_a_common_offset_raises_the_mean_cosine_and_centring_removes_it",
        ),
    ),
    Break(
        name="the divergence is the other way round",
        fault="The sweep shows KL(edited, clean) where it says KL(clean, edited).",
        file="strata/concepts/scaling/tables.py",
        old="float(prob @ (clean - logprobs))",
        new="float(logprobs.exp() @ (logprobs - clean))",
        tests=("tests/concepts/scaling/test_scaling.py::test_sweep_against_a_run_for_each_edit",),
    ),
    Break(
        name="the random walk stands still",
        fault="The walk that paths are compared with takes each step from the start anew.",
        file="strata/concepts/trajectories/tables.py",
        old="steps.cumsum(axis=0)",
        new="steps",
        tests=(
            "tests/concepts/trajectories/test_trajectories.py::"
            "test_random_walk_starts_there_and_takes_the_same_steps",
        ),
    ),
    Break(
        name="gradients are of another loss",
        fault="The loss asks each token to predict itself instead of the token that follows.",
        file="strata/model/gradients.py",
        old="F.cross_entropy(logits[0, :-1], ids[0, 1:])",
        new="F.cross_entropy(logits[0, :-1], ids[0, :-1])",
        tests=("tests/model/test_architecture.py::test_gradients_equal_plain_autograd",),
    ),
    Break(
        name="a Jacobian answers at the last position too",
        fault="The last position, which predicts what the text does not hold, is a target of J.",
        file="strata/model/pullback.py",
        old="ids = [row[:-1] for row in rows]",
        new="ids = list(rows)",
        tests=("tests/model/test_jacobian.py::test_the_matrices_are_the_mean_of_whole_jacobians",),
    ),
    Break(
        name="a Jacobian is turned round",
        fault="States are carried to the end by the transposed matrix of their layer.",
        file="strata/model/jacobian.py",
        old="return hidden @ self.matrices.transpose(1, 2)",
        new="return hidden @ self.matrices",
        tests=(
            "tests/concepts/jacobian_lens/test_jacobian_lens.py::"
            "test_it_reads_each_state_through_its_matrix",
        ),
    ),
    Break(
        name="shared values go to the wrong heads",
        fault="Where heads share values, each gets those of another group.",
        file="strata/model/opened.py",
        old="values = values.repeat_interleave(n_heads // len(values), dim=0)",
        new="values = values.repeat(n_heads // len(values), 1, 1)",
        tests=("tests/concepts/heads/test_heads.py::test_what_goes_to_a_sink_and_comes_from_it",),
    ),
    Break(
        name="a probe is tried on what it was fitted on",
        fault="Any labels of a set, shuffled ones too, seem to be told right from every state.",
        file="strata/concepts/evidence/probing.py",
        old="rest = np.setdiff1d(np.arange(len(states)), fold)",
        new="rest = np.arange(len(states))",
        tests=(
            "tests/concepts/evidence/test_probe.py::"
            "test_what_is_planted_is_found_where_it_is_and_nowhere_else",
        ),
    ),
    Break(
        name="a hypothesis is tested on the half that it came from",
        fault="The half of a set that was held out is the explored one once more.",
        file="strata/concepts/evidence/compared.py",
        old="statistics.halves(names, SEED)[half == HELD_OUT]",
        new="statistics.halves(names, SEED)[0]",
        tests=(
            "tests/concepts/evidence/test_evidence.py::"
            "test_an_effect_is_found_in_one_half_and_tested_in_the_other",
        ),
    ),
)
