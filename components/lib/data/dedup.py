"""The index of what was seen: exact and near duplicates and shared word n-grams, in an SQLite file.

Everything that grows with the rows lies on disk; SQLite's cache and the Bloom filter have fixed sizes.
"""

import hashlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from components.lib.data.gold import Gold
from components.lib.data.minhash import Bands, grams, jaccard, shingles, sketch, word_hashes
from components.lib.data.normal import numbers, same, words

CANDIDATES = 64  # at most so many rows are compared with one
CACHE_KIB = 32_768
BLOOM_BITS = 2**26

_TABLES = """
CREATE TABLE exact (key BLOB PRIMARY KEY, split TEXT, gold TEXT, source TEXT, row INTEGER) WITHOUT ROWID;
CREATE TABLE bands (band INTEGER, sketch INTEGER, PRIMARY KEY (band, sketch)) WITHOUT ROWID;
CREATE TABLE sketches (id INTEGER PRIMARY KEY, split TEXT, source TEXT, row INTEGER, hashes BLOB);
CREATE TABLE grams (gram INTEGER PRIMARY KEY, split TEXT, source TEXT, row INTEGER) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """A row that was seen: the file it went to, its gold if it is a problem, and where it came from."""

    split: str
    gold: Gold | None
    source: str
    index: int


class Near(NamedTuple):
    """The fingerprint by which a text is compared with others of its kind."""

    sketch: np.ndarray
    bands: list[int]


class Index:
    """What was seen so far; `similarity` 1 turns near duplicates off, `gram_words` is n of the n-grams."""

    def __init__(self, path: Path, *, similarity: float, gram_words: int) -> None:
        self.similarity, self.gram_words = similarity, gram_words
        self.bands = Bands(similarity) if similarity < 1 else None
        self.bloom = np.zeros(BLOOM_BITS // 8, dtype=np.uint8)
        self.database = sqlite3.connect(path, isolation_level=None)
        for line in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", f"cache_size=-{CACHE_KIB}"):
            self.database.execute(f"PRAGMA {line}")
        self.database.executescript(_TABLES)
        self.database.execute("BEGIN")

    def close(self) -> None:
        """Close the file."""
        self.database.close()

    def find(self, kind: str, key: str) -> Seen | None:
        """The row of `kind` (question or conversation) with exactly this key, if it was added."""
        found = self.database.execute("SELECT split, gold, source, row FROM exact WHERE key = ?", (_id(kind, key),))
        row = found.fetchone()
        if not row:
            return None
        split, gold, source, index = row
        return Seen(split, None if gold is None else Gold.read(gold), source, index)

    def add(self, kind: str, key: str, seen: Seen) -> None:
        """Add a row, or leave the one that has this key already."""
        gold = None if seen.gold is None else seen.gold.text()
        row = (_id(kind, key), seen.split, gold, seen.source, seen.index)
        self.database.execute("INSERT OR IGNORE INTO exact VALUES (?, ?, ?, ?, ?)", row)

    def near(self, kind: str, text: str, question: str, options: Sequence[str] = ()) -> Near | None:
        """The fingerprint of a text in the form of `same`; None if near duplicates are turned off.

        Only texts whose questions hold the same numbers, and offer the same options in whatever order, are compared:
        with others it is another problem.
        """
        if self.bands is None:
            return None
        found = shingles(word_hashes(words(text)))
        apart = "\n".join([" ".join(numbers(question)), *sorted(map(same, options))])
        head = int.from_bytes(_id(kind, apart)[:8], "big")
        return Near(sketch(found), self.bands.of(found, head) if len(found) else [])

    def find_near(self, near: Near) -> list[tuple[Seen, float]]:
        """The rows at or above the similarity, the most similar first."""
        marks = ",".join("?" * len(near.bands))
        query = (
            "SELECT split, source, row, hashes FROM sketches WHERE id IN "
            f"(SELECT DISTINCT sketch FROM bands WHERE band IN ({marks}) ORDER BY sketch LIMIT {CANDIDATES})"
        )
        found = [
            (Seen(split, None, source, row), round(jaccard(near.sketch, np.frombuffer(hashes, dtype=np.uint32)), 3))
            for split, source, row, hashes in self.database.execute(query, near.bands)
        ]
        return sorted((pair for pair in found if pair[1] >= self.similarity), key=lambda pair: -pair[1])

    def add_near(self, near: Near, seen: Seen) -> None:
        """Add a fingerprint to those that later ones are compared with."""
        row = (seen.split, seen.source, seen.index, near.sketch.tobytes())
        query = "INSERT INTO sketches (split, source, row, hashes) VALUES (?, ?, ?, ?)"
        added = self.database.execute(query, row).lastrowid
        self.database.executemany("INSERT OR IGNORE INTO bands VALUES (?, ?)", [(band, added) for band in near.bands])

    def add_grams(self, question: str, seen: Seen) -> None:
        """Add the word n-grams of a question in the form of `same`."""
        found = grams(word_hashes(words(question)), self.gram_words)
        rows = [(gram, seen.split, seen.source, seen.index) for gram in found.tolist()]
        self.database.executemany("INSERT OR IGNORE INTO grams VALUES (?, ?, ?, ?)", rows)
        bits = found & (BLOOM_BITS - 1)
        np.bitwise_or.at(self.bloom, bits >> 3, (1 << (bits & 7)).astype(np.uint8))

    def shared_gram(self, question: str, splits: Sequence[str]) -> tuple[Seen, str] | None:
        """The first n-gram of a question that one of `splits` has too, and who has it."""
        text = words(question)
        found = grams(word_hashes(text), self.gram_words)
        bits = found & (BLOOM_BITS - 1)
        for start in np.flatnonzero(self.bloom[bits >> 3] >> (bits & 7) & 1).tolist():
            query = "SELECT split, NULL, source, row FROM grams WHERE gram = ?"
            row = self.database.execute(query, (int(found[start]),)).fetchone()
            if row and row[0] in splits:
                return Seen(*row), " ".join(text[start : start + self.gram_words])
        return None


def _id(kind: str, key: str) -> bytes:
    return hashlib.blake2b(f"{kind}\n{key}".encode(), digest_size=16).digest()
