"""What can be inferred from a few seeds: intervals over seeds and problems, a paired t-test, and how many would do.

numpy alone. A simulated null of 3 seeds of 1,000 problems with strong seed noise (tests/lib/study/test_inference.py)
is claimed to differ by the t-test as often as its level says, and by a plain bootstrap over seeds far more often:
hence the test for what is claimed, and the factor by which the bootstrap's seeds are widened.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, stdev

import numpy as np

LEAST_SEEDS = 3  # for a p-value: of two seeds the deviation has one degree of freedom
POWER = 0.8
MOST_SEEDS = 100  # that are looked at; what needs more is not worth its runs
_BLOCK = 2_000_000  # random counts drawn at once
_GRID = 400  # points of an integral


def p_of_t(t: float, freedom: int) -> float:
    """Two-sided p-value of Student's t with a whole number of degrees of freedom (Abramowitz and Stegun 26.7.3-4).

    >>> round(p_of_t(4.302653, 2), 6), round(p_of_t(2.228139, 10), 6)
    (0.05, 0.05)
    """
    angle = math.atan2(abs(t), math.sqrt(freedom))
    sine, square = math.sin(angle), math.cos(angle) ** 2
    odd = freedom % 2
    term = total = math.cos(angle) if odd else 1.0
    for k in range(2 + odd, freedom, 2):
        term *= square * (k - 1) / k
        total += term
    inside = 2 / math.pi * (angle + (sine * total if freedom > 1 else 0.0)) if odd else sine * total
    return max(0.0, 1.0 - inside)


def critical_t(alpha: float, freedom: int) -> float:
    """The t whose two-sided p-value is `alpha`, by bisection.

    >>> round(critical_t(0.05, 2), 3)
    4.303
    """
    low, high = 0.0, 1.0
    while p_of_t(high, freedom) > alpha:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if p_of_t(middle, freedom) > alpha else (low, middle)
    return high


def paired_t(differences: Sequence[float]) -> float | None:
    """Two-sided p-value of Student's paired t-test (1908) over per-seed differences; None below LEAST_SEEDS.

    Seeds are what a claim about a method is repeated over: problems of one run share its luck.
    """
    if len(differences) < LEAST_SEEDS:
        return None
    mean, spread = fmean(differences), stdev(differences)
    if spread == 0:
        return 0.0 if mean else 1.0
    return p_of_t(mean / spread * math.sqrt(len(differences)), len(differences) - 1)


def interval(scores: np.ndarray, *, confidence: float, samples: int, seed: int) -> tuple[float, float]:
    """Percentile interval of the mean of (seeds, problems) by a bootstrap that draws both (Davison and Hinkley 1997).

    Every seed has the same problems, so a draw of problems is one for all seeds. Of few seeds the drawn means vary too
    little; their deviation is widened by sqrt(S/(S-1)) and by the ratio of Student's t to the normal quantile. One
    seed says nothing of others: the interval is then over problems alone.
    """
    seeds, problems = scores.shape
    widened = 0.0
    if seeds > 1:
        quantile = critical_t(1 - confidence, seeds - 1) / NormalDist().inv_cdf(0.5 + confidence / 2)
        widened = math.sqrt(seeds / (seeds - 1)) * quantile
    random, means, block = np.random.default_rng(seed), [], max(1, _BLOCK // problems)
    for done in range(0, samples, block):
        count = min(block, samples - done)
        drawn = random.multinomial(problems, np.full(problems, 1 / problems), count) @ scores.T / problems
        weights = random.multinomial(seeds, np.full(seeds, 1 / seeds), count) / seeds
        middle = drawn.mean(axis=1)
        means.append(middle + widened * ((weights * drawn).sum(axis=1) - middle))
    low, high = np.quantile(np.concatenate(means), [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high)


def power(effect: float, seeds: int, alpha: float) -> float:
    """Chance that the paired t-test claims a difference of `effect` standard deviations (noncentral t, Cohen 1988).

    P(|Z + d sqrt(n)| > t sqrt(V / v)) over V, chi-squared with v = n - 1 degrees of freedom, by its density on a grid.

    >>> round(power(0.5, 34, 0.05), 3), round(power(1.0, 10, 0.05), 3)
    (0.808, 0.803)
    """
    freedom, shift = seeds - 1, abs(effect) * math.sqrt(seeds)
    root = np.linspace(0.0, math.sqrt(freedom) + 8, _GRID)[1:]  # of V: its density has no pole
    density = np.exp((freedom - 1) * np.log(root) - root**2 / 2)
    limits = critical_t(alpha, freedom) / math.sqrt(freedom) * root
    normal = NormalDist()
    beyond = [normal.cdf(shift - limit) + normal.cdf(-shift - limit) for limit in limits]
    return float(np.dot(density, beyond) / density.sum())


def seeds_needed(differences: Sequence[float], alpha: float) -> int | None:
    """So many seeds would claim a difference like this one with a chance of POWER; None if more than MOST_SEEDS.

    The difference and its deviation are those of the seeds that there are, so the number is a guess, as they are.
    """
    mean, spread = fmean(differences), stdev(differences)
    if spread == 0:
        return LEAST_SEEDS if mean else None
    low, high = LEAST_SEEDS, MOST_SEEDS
    if power(mean / spread, high, alpha) < POWER:
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if power(mean / spread, middle, alpha) >= POWER else (middle + 1, high)
    return low
