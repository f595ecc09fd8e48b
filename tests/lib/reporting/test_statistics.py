"""The statistics of the report, against published values, fractions and brute force."""

from fractions import Fraction
from itertools import combinations, product
from math import comb, erfc

import pytest

from components.lib.reporting.statistics import (
    holm,
    majority,
    mcnemar,
    mcnemar_greater,
    paired_bootstrap,
    pass_at_k,
    wilson,
)


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_is_as_published(correct, n, low, high):
    """Newcombe, Statistics in Medicine 17 (1998), table I, method 3."""
    assert wilson(correct, n, 0.95) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("correct", "n"), [(1, 3), (687, 1319), (765, 1319)])
@pytest.mark.parametrize(
    ("confidence", "z"), [(0.9, 1.6448536269514722), (0.95, 1.9599639845400545), (0.99, 2.5758293035489004)]
)
def test_wilsons_ends_are_the_shares_that_lie_z_deviations_off(correct, n, confidence, z):
    for end in wilson(correct, n, confidence):
        assert abs(correct / n - end) == pytest.approx(z * (end * (1 - end) / n) ** 0.5, rel=1e-12)


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


@pytest.mark.parametrize(("won", "lost"), [(0, 0), (5, 0), (0, 5), (7, 3), (3, 7), (6, 6)])
def test_mcnemar_by_every_way_that_the_coins_can_fall(won, lost):
    heads = [sum(flips) for flips in product((0, 1), repeat=won + lost)]
    middle = (won + lost) / 2
    assert mcnemar_greater(won, lost) == sum(count >= won for count in heads) / len(heads)
    assert mcnemar(won, lost) == sum(abs(count - middle) >= abs(won - middle) for count in heads) / len(heads)


@pytest.mark.parametrize(("won", "lost"), [(10, 3), (3, 10), (700, 600), (600, 700), (1500, 0)])
def test_mcnemar_is_exact(won, lost):
    tail = Fraction(sum(comb(won + lost, k) for k in range(won, won + lost + 1)), 2 ** (won + lost))
    assert mcnemar_greater(won, lost) == float(tail)


def test_mcnemar_of_many_problems():
    assert mcnemar_greater(50_500, 49_500) == pytest.approx(erfc(999 / 100_000**0.5 / 2**0.5) / 2, rel=1e-3)
    assert mcnemar(40_000, 0) == 0.0 and mcnemar_greater(0, 20_000) == 1.0


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
