"""The statistics of the report: intervals, paired tests, corrections for many tests, pass@k and maj@k."""

from collections import Counter
from collections.abc import Sequence
from math import comb
from statistics import NormalDist

import numpy as np

_BLOCK = 4_000_000  # random indices drawn at once by the bootstrap: 32 MB


def wilson(correct: float, n: int, confidence: float) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927), both ends in [0, 1].

    `correct` may be a fraction when each problem counts with the mean of several samples; the interval is then
    conservative. `ValueError` if there is nothing to count.
    """
    if n <= 0 or not 0 <= correct <= n:
        raise ValueError(f"{correct} right of {n} is no share; evaluate at least one problem")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = correct / n
    centre = share + z * z / (2 * n)
    half = z * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    low, high = (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)
    # At 0 and at n the ends are exactly 0 and 1; rounding must not say otherwise.
    return (0.0 if correct == 0 else max(0.0, low)), (1.0 if correct == n else min(1.0, high))


def mcnemar(won: int, lost: int) -> float:
    """Two-sided p-value of the exact McNemar test: whether as many problems were won as lost.

    `won` went from wrong to right, `lost` from right to wrong. Without any change it is 1.

    >>> mcnemar(5, 0)
    0.0625
    """
    return min(1.0, 2 * mcnemar_greater(max(won, lost), min(won, lost)))


def mcnemar_greater(won: int, lost: int) -> float:
    """The one-sided exact McNemar p-value: that many or more wins among won + lost by fair coin flips.

    >>> mcnemar_greater(5, 0)
    0.03125
    """
    pairs = won + lost
    term = total = comb(pairs, won)
    for k in range(won, pairs):
        term = term * (pairs - k) // (k + 1)
        total += term
        if term.bit_length() + 100 < total.bit_length():  # what follows changes no digit of a float
            break
    return total / 2**pairs


def paired_bootstrap(
    before: Sequence[float], after: Sequence[float], *, samples: int, confidence: float, seed: int
) -> tuple[float, float]:
    """Percentile interval of mean(after) - mean(before) over resampled problems (Efron and Tibshirani 1993).

    `before` and `after` hold one score per problem, in the same order; a problem is drawn with both its scores.
    """
    if len(before) != len(after) or not before:
        raise ValueError(f"{len(before)} scores cannot be paired with {len(after)}; evaluate the same problems")
    change = np.asarray(after, dtype=float) - np.asarray(before, dtype=float)
    random = np.random.default_rng(seed)
    block = max(1, _BLOCK // len(change))
    means = [
        change[random.integers(0, len(change), (min(block, samples - done), len(change)))].mean(axis=1)
        for done in range(0, samples, block)
    ]
    low, high = np.quantile(np.concatenate(means), [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (1979) of a family of p-values, in the order given."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """Chance that one of k samples is right, estimated without bias from more (Chen et al. 2021, equation 1).

    `ValueError` unless 1 <= k <= samples.
    """
    if not 1 <= k <= samples:
        raise ValueError(f"pass@{k} cannot be told from {samples} samples; sample at least {k}")
    return 1.0 - comb(samples - correct, k) / comb(samples, k)


def majority(answers: Sequence[str | None]) -> str | None:
    """The most frequent answer, the earliest of equals; None, no answer, does not vote.

    >>> majority(["4", None, "5", "5"])
    '5'
    """
    votes = Counter(answer for answer in answers if answer is not None)
    return max(votes, key=lambda answer: votes[answer]) if votes else None
