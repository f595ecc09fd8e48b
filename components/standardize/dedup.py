"""The index of what was seen: exact and near duplicates and shared word n-grams, in an SQLite file.

Everything that grows with the rows lies on disk; SQLite's cache and the Bloom filter have fixed sizes. Near
duplicates are found by MinHash with banding (Broder 1997; signatures by the library `datasketch`), and a candidate
is then compared by its sketch, the smallest hashes of its words and word pairs: exact up to SKETCH of them.
"""

import hashlib
import sqlite3
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from datasketch import MinHash, MinHashLSH

from components.standardize.normal import numbers, words

PERMUTATIONS = 128
SKETCH = 128
CANDIDATES = 64  # at most so many rows are compared with one
CACHE_KIB = 32_768
BLOOM_BITS = 2**26
# Prefer more candidates to missed pairs: candidates are verified.
_FALSE_POSITIVE_WEIGHT, _FALSE_NEGATIVE_WEIGHT = 0.1, 0.9

_TABLES = """
CREATE TABLE exact (key BLOB PRIMARY KEY, place TEXT, gold TEXT, source TEXT, row INTEGER) WITHOUT ROWID;
CREATE TABLE bands (band INTEGER, sketch INTEGER, PRIMARY KEY (band, sketch)) WITHOUT ROWID;
CREATE TABLE sketches (id INTEGER PRIMARY KEY, place TEXT, source TEXT, row INTEGER, hashes BLOB);
CREATE TABLE grams (gram INTEGER PRIMARY KEY, place TEXT, source TEXT, row INTEGER) WITHOUT ROWID;
"""


class Seen(NamedTuple):
    """A row that was seen: the file it went to, its gold if it is a problem, and where it came from."""

    place: str
    gold: str | None
    source: str
    index: int


class Index:
    """What was seen so far; `similarity` 1 turns near duplicates off, `gram_words` is n of the n-grams."""

    def __init__(self, path: Path, *, similarity: float, gram_words: int) -> None:
        self.similarity, self.gram_words = similarity, gram_words
        self.database = sqlite3.connect(path, isolation_level=None)
        for line in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", f"cache_size=-{CACHE_KIB}"):
            self.database.execute(f"PRAGMA {line}")
        self.database.executescript(_TABLES)
        self.database.execute("BEGIN")
        self.bloom = np.zeros(BLOOM_BITS // 8, dtype=np.uint8)
        if similarity < 1:
            weights = (_FALSE_POSITIVE_WEIGHT, _FALSE_NEGATIVE_WEIGHT)
            bands = MinHashLSH(threshold=similarity, num_perm=PERMUTATIONS, weights=weights)
            self.bands, self.rows_per_band = bands.b, bands.r
            self.permutations = MinHash(PERMUTATIONS, hashfunc=int).permutations

    def close(self) -> None:
        """Close the file."""
        self.database.close()

    def find(self, kind: str, key: str) -> Seen | None:
        """The row of `kind` (question or conversation) with exactly this key, if it was added."""
        found = self.database.execute("SELECT place, gold, source, row FROM exact WHERE key = ?", (_id(kind, key),))
        row = found.fetchone()
        return Seen(*row) if row else None

    def add(self, kind: str, key: str, seen: Seen) -> None:
        """Add a row that was not found."""
        self.database.execute("INSERT INTO exact VALUES (?, ?, ?, ?, ?)", (_id(kind, key), *seen))

    def near(self, kind: str, same_text: str, question: str) -> "Near | None":
        """The comparison of a text with those of its kind, to be asked for the nearest one; None if turned off.

        Only texts whose questions (in the form of `same`) hold the same numbers are compared: a problem with
        other numbers is another problem.
        """
        return Near(self, kind, same_text, question) if self.similarity < 1 else None

    def add_grams(self, question: str, seen: Seen) -> None:
        """Add the word n-grams of a question in the form of `same`."""
        grams = _grams(words(question), self.gram_words)
        rows = [(gram, seen.place, seen.source, seen.index) for gram in grams]
        self.database.executemany("INSERT OR IGNORE INTO grams VALUES (?, ?, ?, ?)", rows)
        for byte, bit in map(_bloom_place, grams):
            self.bloom[byte] |= bit

    def shared_gram(self, question: str, places: Sequence[str]) -> tuple[Seen, str] | None:
        """The first n-gram of a question that one of `places` has too, and who has it."""
        found = words(question)
        for start, gram in enumerate(_grams(found, self.gram_words)):
            byte, bit = _bloom_place(gram)
            if not self.bloom[byte] & bit:
                continue
            query = self.database.execute("SELECT place, NULL, source, row FROM grams WHERE gram = ?", (gram,))
            row = query.fetchone()
            if row and row[0] in places:
                return Seen(*row), " ".join(found[start : start + self.gram_words])
        return None


class Near:
    """One text's signature: `find` its nearest neighbour, then `add` it if it stays."""

    def __init__(self, index: Index, kind: str, same_text: str, question: str) -> None:
        self.index = index
        shingles = np.unique(_shingles(words(same_text)))
        signature = MinHash(PERMUTATIONS, hashfunc=int, permutations=index.permutations, scheme="affine32")
        signature.update_batch(shingles.tolist())
        # not the smallest values themselves, which all texts with the same rare word share, but a mix of them
        mixed = (shingles.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
        self.sketch = np.sort(mixed.astype(np.uint32))[:SKETCH]
        head = f"{kind} {' '.join(numbers(question))} ".encode()
        values, rows = signature.hashvalues, index.rows_per_band
        self.bands = [
            _integer(head + bytes([band]) + values[band * rows : (band + 1) * rows].tobytes())
            for band in range(index.bands)
        ]

    def find(self, places: Sequence[str]) -> tuple[Seen, float] | None:
        """The most similar row of `places` at or above the similarity, and how similar it is."""
        marks = ",".join("?" * len(self.bands))
        query = (
            f"SELECT DISTINCT s.id, s.place, s.source, s.row, s.hashes FROM bands b JOIN sketches s ON s.id = b.sketch "
            f"WHERE b.band IN ({marks}) ORDER BY s.id LIMIT {CANDIDATES}"
        )
        best: tuple[Seen, float] | None = None
        for _, place, source, row, hashes in self.index.database.execute(query, self.bands):
            similarity = _jaccard(self.sketch, np.frombuffer(hashes, dtype=np.uint32))
            if place in places and similarity >= self.index.similarity and (not best or similarity > best[1]):
                best = Seen(place, None, source, row), round(similarity, 3)
        return best

    def add(self, seen: Seen) -> None:
        """Add the text to those that later ones are compared with."""
        database = self.index.database
        row = (seen.place, seen.source, seen.index, self.sketch.tobytes())
        added = database.execute("INSERT INTO sketches (place, source, row, hashes) VALUES (?, ?, ?, ?)", row).lastrowid
        database.executemany("INSERT OR IGNORE INTO bands VALUES (?, ?)", [(band, added) for band in self.bands])


def _shingles(text: Sequence[str]) -> np.ndarray:
    """uint32 hashes of the words and of the pairs of neighbouring words."""
    single = np.array([zlib.crc32(word.encode()) for word in text], dtype=np.uint32)
    pairs = single[:-1] * np.uint32(0x85EBCA6B) ^ (single[1:] + np.uint32(0x9E3779B9))
    return np.concatenate([single, pairs])


def _jaccard(one: np.ndarray, two: np.ndarray) -> float:
    """Jaccard similarity from two sorted sketches (Cohen 1997, bottom-k); exact for sets up to SKETCH."""
    union = np.union1d(one, two)[:SKETCH]
    if len(union) == 0:
        return 1.0
    return len(np.intersect1d(np.intersect1d(one, two, assume_unique=True), union, assume_unique=True)) / len(union)


def _grams(text: Sequence[str], size: int) -> list[int]:
    return [_integer(" ".join(text[i : i + size]).encode()) for i in range(len(text) - size + 1)]


def _id(kind: str, key: str) -> bytes:
    return hashlib.blake2b(f"{kind}\n{key}".encode(), digest_size=16).digest()


def _integer(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big", signed=True)


def _bloom_place(gram: int) -> tuple[int, int]:
    bit = gram % BLOOM_BITS
    return bit // 8, 1 << bit % 8
