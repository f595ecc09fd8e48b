"""Counts of what happened to every row, and the writers of the files; together they prove that nothing is lost."""

import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from components.recipes import Source
from components.standardize.reasons import REASONS, Refused

PLACES = ("sft", "problems", "plateau", "gate", "evaluation")
FILES = (*PLACES, "rejects")
_EXAMPLES = 2  # of each kind and source
_OVERLAPS = 200  # listed in the summary; all of them are in rejects.jsonl
_INTERVAL_S = 10.0


@dataclass
class Tally:
    """What became of one source's rows."""

    source: Source
    revision: str
    read: int = 0
    accepted: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    repeats: int = 0  # further copies of accepted rows, by a weight above 1
    golds: int = 0  # rows whose gold answer was read
    notes: Counter[str] = field(default_factory=Counter)  # harmless changes on the way to the normal form

    @property
    def kept(self) -> int:
        """Rows that went to another file than rejects.jsonl."""
        return self.accepted.total()

    def check(self) -> None:
        """Every row that was read went to exactly one file."""
        if self.read != self.kept + self.rejected.total():
            raise RuntimeError(
                f"source {self.source.name!r}: {self.read} rows were read, but {self.kept} written and "
                f"{self.rejected.total()} refused; this is a bug of standardize"
            )


class Histogram:
    """Counts of lengths in bars of equal width; what is beyond the last bar goes into it."""

    def __init__(self, width: int, bars: int) -> None:
        self.width, self.counts = width, [0] * bars
        self.largest = 0

    def add(self, length: int) -> None:
        """Count one length."""
        self.counts[min(length // self.width, len(self.counts) - 1)] += 1
        self.largest = max(self.largest, length)


class Ledger:
    """The files of one run of standardize, and the tally of every source."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, IO[str]] = {
            name: (folder / f"{name}.jsonl").open("w", encoding="utf-8", newline="\n") for name in FILES
        }
        self.written: Counter[str] = Counter()
        self.tallies: list[Tally] = []
        self.examples: list[dict[str, Any]] = []
        self.overlaps: list[dict[str, Any]] = []
        self.histograms: dict[str, Histogram] = {}
        self._shown: Counter[tuple[str, str]] = Counter()
        self._said = time.monotonic()

    def begin(self, source: Source) -> Tally:
        """Start the tally of a source."""
        self.tallies.append(Tally(source, source.revision))
        return self.tallies[-1]

    def accept(self, tally: Tally, place: str, row: Mapping[str, Any], before: Any, copies: int = 1) -> None:
        """Write a row to the file of `place`, `copies` times with distinct ids."""
        tally.accepted[place] += 1
        tally.repeats += copies - 1
        for copy in range(copies):
            self._write(place, {**row, "id": f"{row['id']}-{copy + 1}"} if copy else row)
        self._example(tally, place, before, row, "")

    def refuse(self, tally: Tally, index: int, row: Any, refused: Refused) -> None:
        """Write a row to rejects.jsonl."""
        tally.rejected[refused.reason] += 1
        self._write("rejects", {"source": tally.source.name, "index": index, "reason": refused.reason, "row": row}
                    | refused.detail)  # fmt: skip
        if refused.reason.startswith(("overlap", "held-out")) and len(self.overlaps) < _OVERLAPS:
            self.overlaps.append({"source": tally.source.name, "index": index, "reason": refused.reason}
                                 | refused.detail)  # fmt: skip
        self._example(tally, refused.reason, row, None, refused.reason)

    def count(self, tally: Tally) -> None:
        """Count a row that was read, and say now and then how far it is."""
        tally.read += 1
        if tally.read % 1000 == 0 and time.monotonic() - self._said > _INTERVAL_S:
            self._said = time.monotonic()
            print(f"standardize: {tally.source.name}: {tally.read:,} rows read, {tally.kept:,} kept", flush=True)

    def close(self) -> None:
        """Close the files."""
        for file in self.files.values():
            file.close()

    def check(self) -> None:
        """Every row is in exactly one file; `RuntimeError` if the counts do not say so."""
        for tally in self.tallies:
            tally.check()
        read = sum(tally.read + tally.repeats for tally in self.tallies)
        if read != self.written.total():
            raise RuntimeError(f"{read} rows in, {self.written.total()} rows out; this is a bug of standardize")

    def reasons(self) -> dict[str, int]:
        """Refused rows of all sources by reason, in the order of REASONS."""
        total: Counter[str] = sum((tally.rejected for tally in self.tallies), Counter())
        return {reason: total[reason] for reason in REASONS if total[reason]}

    def _write(self, name: str, row: Mapping[str, Any]) -> None:
        # Parquet and CSV rows may hold what JSON has no type for; it is shown as text
        self.files[name].write(json.dumps(row, ensure_ascii=False, default=str) + "\n")
        self.written[name] += 1

    def _example(self, tally: Tally, kind: str, before: Any, after: Any, reason: str) -> None:
        key = (tally.source.name, kind)
        if self._shown[key] < _EXAMPLES:
            self._shown[key] += 1
            self.examples.append({
                "source": tally.source.name, "place": kind if not reason else "rejects", "reason": reason,
                "before": before, "after": after,
            })  # fmt: skip
