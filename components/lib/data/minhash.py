"""Fingerprints of texts as numpy arrays: word n-grams, MinHash signatures in bands, and sketches to compare by.

MinHash: Broder 1997. Sketch: the smallest hashes of a set (bottom-k, Cohen 1997), from which Jaccard similarity is
estimated, exactly for sets up to SKETCH.
"""

import zlib
from collections.abc import Sequence

import numpy as np

PERMUTATIONS = 128
SKETCH = 128
# Prefer more candidates to missed pairs: candidates are compared by their sketches.
_FALSE_POSITIVE_WEIGHT, _FALSE_NEGATIVE_WEIGHT = 0.1, 0.9

Array = np.ndarray


def word_hashes(words: Sequence[str]) -> Array:
    """uint32 of shape (words,)."""
    return np.array([zlib.crc32(word.encode()) for word in words], dtype=np.uint32)


def grams(hashes: Array, size: int) -> Array:
    """int64 hashes of the runs of `size` words, shape (words - size + 1,), empty if there are not so many words."""
    if len(hashes) < size:
        return np.empty(0, dtype=np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(_mix(hashes.astype(np.uint64)), size)
    return _mix((windows * _multipliers(size)).sum(axis=1, dtype=np.uint64)).view(np.int64)


def shingles(hashes: Array) -> Array:
    """uint32 hashes of the words and of the pairs of neighbouring words."""
    pairs = hashes[:-1] * np.uint32(0x85EBCA6B) ^ (hashes[1:] + np.uint32(0x9E3779B9))
    return np.concatenate([hashes, pairs])


class Bands:
    """MinHash signatures cut into bands: texts at or above `similarity` are likely to share one."""

    def __init__(self, similarity: float) -> None:
        self.bands, self.rows = band_shape(similarity)
        random = np.random.RandomState(1)  # its stream is frozen, so that every run finds the same neighbours
        odd = random.randint(0, 1 << 31, PERMUTATIONS, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
        added = random.randint(0, 1 << 32, PERMUTATIONS, dtype=np.uint32)
        used = self.bands * self.rows
        self.odd, self.added = odd[:used, None], added[:used, None]

    def of(self, shingles: Array, head: int) -> list[int]:
        """One int64 per band; texts with different `head` share none."""
        values = self.signature(shingles).reshape(self.bands, self.rows)
        sums = (values * _multipliers(self.rows)).sum(axis=1, dtype=np.uint64)
        salts = np.arange(1, self.bands + 1, dtype=np.uint64) * np.uint64(head | 1)
        return _mix(_mix(sums) ^ salts).view(np.int64).tolist()

    def signature(self, shingles: Array) -> Array:
        """The smallest of uint32 shingles, of which there is one at least, by each of bands * rows permutations.

        A permutation is odd * x + added modulo 2**32, after MurmurHash3's finalizer (Appleby 2011).
        """
        x = (shingles ^ (shingles >> np.uint32(16))) * np.uint32(0x85EBCA6B)
        x = (x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35)
        return (self.odd * (x ^ (x >> np.uint32(16))) + self.added).min(axis=1)


def band_shape(similarity: float) -> tuple[int, int]:
    """How many bands of how many rows, so that texts share one where they are at least so similar, and else not.

    That of the least false positives and false negatives, if all similarities are equally frequent.
    """
    shares = (np.arange(1000) + 0.5) / 1000
    errors = {}
    for rows in range(1, PERMUTATIONS + 1):
        for bands in range(1, PERMUTATIONS // rows + 1):
            caught = 1 - (1 - shares**rows) ** bands
            wrong, missed = caught[shares < similarity].sum(), (1 - caught)[shares >= similarity].sum()
            errors[bands, rows] = _FALSE_POSITIVE_WEIGHT * wrong + _FALSE_NEGATIVE_WEIGHT * missed
    return min(errors, key=lambda shape: errors[shape])


def sketch(shingles: Array) -> Array:
    """The SKETCH smallest of the mixed shingles: uint32, sorted, each once."""
    mixed = np.sort((_mix(shingles.astype(np.uint64)) >> np.uint64(32)).astype(np.uint32))
    if len(mixed) > 1:
        mixed = mixed[np.concatenate([[True], mixed[1:] != mixed[:-1]])]
    return mixed[:SKETCH]


def jaccard(one: Array, two: Array) -> float:
    """Jaccard similarity from two sketches; 1 for two empty ones."""
    union = np.union1d(one, two)[:SKETCH]
    if len(union) == 0:
        return 1.0
    common = np.intersect1d(one, two, assume_unique=True)
    return int((common <= union[-1]).sum()) / len(union)


def _mix(values: Array) -> Array:
    """The finalizer of splitmix64 (Steele et al. 2014), on uint64."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _multipliers(count: int) -> Array:
    """Odd uint64 numbers that look random, always the same."""
    return _mix(np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)) | np.uint64(1)
