"""The statistics of the report, against published values, SciPy and brute force."""

from itertools import combinations

import pytest
from scipy.stats import binomtest

from components.lib.reporting.statistics import holm, majority, mcnemar, paired_bootstrap, pass_at_k, wilson


@pytest.mark.parametrize(("correct", "n"), [(0, 10), (10, 10), (1, 3), (687, 1319), (765, 1319)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_wilson_is_scipys(correct, n, confidence):
    expected = binomtest(correct, n).proportion_ci(confidence, method="wilson")
    assert wilson(correct, n, confidence) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_stays_inside_and_takes_fractions():
    assert wilson(0, 400, 0.95)[0] == 0.0 and wilson(400, 400, 0.95)[1] == 1.0
    low, high = wilson(2.5, 10, 0.95)
    assert wilson(2, 10, 0.95)[0] < low < 0.25 < high < wilson(3, 10, 0.95)[1]


@pytest.mark.parametrize(("correct", "n"), [(0, 0), (3, 2), (-1, 5)])
def test_wilson_refuses_what_is_no_share(correct, n):
    with pytest.raises(ValueError, match="is no share"):
        wilson(correct, n, 0.95)


def test_mcnemar_counts_both_tails():
    # 2 * sum of C(12, k) / 2^12 for k = 0..2: 158 / 4096
    assert mcnemar(10, 2) == mcnemar(2, 10) == pytest.approx(158 / 4096)
    assert mcnemar(0, 0) == mcnemar(7, 7) == 1.0
    assert mcnemar(400, 0) < 1e-100


def test_bootstrap_is_paired():
    before = [0.0, 1.0] * 100
    after = [score + 0.25 for score in before]
    # Every problem gains the same, however far the problems lie apart: no uncertainty is left.
    assert paired_bootstrap(before, after, samples=200, confidence=0.95, seed=0) == (0.25, 0.25)


def test_bootstrap_agrees_with_the_normal_interval():
    before, after = [0.0] * 400, [1.0] * 100 + [0.0] * 300
    low, high = paired_bootstrap(before, after, samples=4000, confidence=0.95, seed=1)
    half = 1.96 * (0.25 * 0.75 / 400) ** 0.5
    assert (low, high) == pytest.approx((0.25 - half, 0.25 + half), abs=0.004)
    assert (low, high) == paired_bootstrap(before, after, samples=4000, confidence=0.95, seed=1)


def test_bootstrap_refuses_strangers():
    with pytest.raises(ValueError, match="cannot be paired"):
        paired_bootstrap([1.0], [1.0, 0.0], samples=100, confidence=0.95, seed=0)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize("correct", range(6))
@pytest.mark.parametrize("k", range(1, 6))
def test_pass_at_k_is_the_share_of_draws_with_a_right_one(correct, k):
    draws = list(combinations([True] * correct + [False] * (5 - correct), k))
    assert pass_at_k(5, correct, k) == pytest.approx(sum(any(draw) for draw in draws) / len(draws))


def test_pass_at_k_needs_k_samples():
    with pytest.raises(ValueError, match="pass@6 cannot be told from 5 samples"):
        pass_at_k(5, 1, 6)


def test_majority_ignores_silence_and_takes_the_earliest():
    assert majority(["4", None, None, None]) == "4"
    assert majority(["5", "4", "4", "5"]) == "5"
    assert majority([None, None]) is None
