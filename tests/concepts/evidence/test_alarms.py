"""A small version of `python -m tests.alarms`: no more alarms than promised, and effects found."""

from __future__ import annotations

from tests import alarms


def test_alarms_are_as_rare_as_promised_and_effects_are_found() -> None:
    for kind in (alarms.KINDS[0], alarms.KINDS[3]):
        none, _ = alarms.rates(kind, 0.0, draws=300, n_signs=299)
        assert 0.02 <= none <= 0.08, (kind.name, none)  # 0.05, of 300: 0.025 is two deviations
    _, found = alarms.rates(alarms.KINDS[0], alarms.SIZE, draws=100, n_signs=299, seed=1)
    assert found >= 0.7


def test_a_hypothesis_picked_off_the_held_out_half_is_no_finding() -> None:
    told, counted = alarms.second_looks(alarms.KINDS[3], draws=60)
    assert told <= 0.08  # 0.025, of 60
    assert counted >= 0.1, "it would be one more often than 1 in 20"
