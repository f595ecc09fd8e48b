"""Inference from few seeds: against values of tables and of G*Power, and under a simulated null."""

import numpy as np
import pytest

from components.lib.reporting.statistics import holm
from components.lib.study import inference

SEEDS, PROBLEMS, NOISE = 3, 1000, 0.1


def accuracies(random, studies, variants):
    """(studies, variants, seeds) of one truth: each run has luck of its own, each problem its difficulty."""
    luck = random.normal(0.5, NOISE, (studies, variants, SEEDS)).clip(0, 1)
    return random.binomial(PROBLEMS, luck) / PROBLEMS


def test_of_200_null_studies_at_most_16_claim_anything():
    """A study of a reference and three variants that are the same; `false` counts those that claim, at 5 %."""
    found = accuracies(np.random.default_rng(0), 200, 4)
    false = 0
    for study in found:
        values = [inference.paired_t(list(study[variant] - study[0])) for variant in (1, 2, 3)]
        false += min(holm(values)) <= 0.05
    assert 0 < false <= 16


def test_the_interval_of_a_null_difference_leaves_out_zero_seldom():
    random, left_out, by_the_plain = np.random.default_rng(1), 0, 0
    for number in range(100):
        difference = np.diff(accuracies(random, 1, 2)[0], axis=0)[0]
        scores = np.tile(difference[:, None], (1, 20)) + random.normal(0, 0.01, (SEEDS, 20))
        low, high = inference.interval(scores, confidence=0.95, samples=300, seed=number)
        left_out += not low <= 0 <= high
        drawn = difference[random.integers(0, SEEDS, (300, SEEDS))].mean(axis=1)
        low, high = np.quantile(drawn, [0.025, 0.975])
        by_the_plain += not low <= 0 <= high
    assert left_out <= 8 and by_the_plain > 10


def test_one_seed_gives_the_interval_of_the_problems():
    scores = np.array([[1.0] * 60 + [0.0] * 40])
    low, high = inference.interval(scores, confidence=0.95, samples=4000, seed=0)
    assert (low, high) == (pytest.approx(0.504, abs=0.01), pytest.approx(0.696, abs=0.01))


@pytest.mark.parametrize(("t", "freedom", "p"), [
    (12.7062, 1, 0.05), (4.302653, 2, 0.05), (3.182446, 3, 0.05), (2.0930, 19, 0.05), (31.599, 2, 0.001), (0, 5, 1),
])  # fmt: skip
def test_p_values_are_those_of_the_tables(t, freedom, p):
    assert inference.p_of_t(t, freedom) == pytest.approx(p, rel=2e-4)
    assert not p or p == 1 or inference.critical_t(p, freedom) == pytest.approx(t, rel=2e-4)


def test_the_paired_t_test_knows_its_limits():
    assert inference.paired_t([0.1, 0.2]) is None
    assert inference.paired_t([0.0, 0.0, 0.0]) == 1.0 and inference.paired_t([0.1, 0.1, 0.1]) == 0.0
    assert inference.paired_t([0.01, 0.02, 0.03]) == pytest.approx(0.0742, abs=1e-4)


@pytest.mark.parametrize(("effect", "seeds"), [(0.5, 34), (1.0, 10), (0.2, 199), (0.8, 15)])
def test_power_is_that_of_gpower(effect, seeds):
    assert inference.power(effect, seeds - 1, 0.05) < 0.8 <= inference.power(effect, seeds, 0.05)


def test_the_seeds_that_would_settle_a_difference():
    like = [0.5 + delta for delta in (-1, 0, 1)]  # half a standard deviation
    assert inference.seeds_needed(like, 0.05) == 34 and inference.seeds_needed([-d for d in like], 0.05) == 34
    assert inference.seeds_needed([-1, 0, 1.01], 0.05) is None and inference.seeds_needed([0.2, 0.2], 0.05) == 3
