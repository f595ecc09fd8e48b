"""Counts of what happened to every row, and the writers of the files; together they prove that nothing is lost."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from components.lib.data.reasons import BY_CHOICE, FINDINGS, REASONS, Refused
from components.lib.data.splits import FILES
from components.lib.progress import Progress
from components.lib.recipe.schema import Source

_EXAMPLES = 2  # of each kind and source
_FINDINGS = 25  # of each reason are listed in the summary; all of them are in rejects.jsonl
_STEP, _LONGEST = 4, 2**18  # of a histogram


@dataclass
class Tally:
    """What became of one source's rows."""

    source: Source
    read: int = 0
    accepted: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    repeats: int = 0  # further copies of accepted rows, by a weight above 1
    golds: int = 0  # rows whose gold answer was read
    notes: Counter[str] = field(default_factory=Counter)  # harmless changes on the way to the normal form
    schemas: Mapping[str, int] = field(default_factory=dict)  # of its first rows, where they decided how it is read

    @property
    def kept(self) -> int:
        """Rows that went to another file than rejects.jsonl."""
        return self.accepted.total()

    @property
    def usable(self) -> int:
        """Rows that were kept, or would have been but for the source's own weight or cap, which are asked last."""
        return self.kept + sum(self.rejected[reason] for reason in BY_CHOICE)

    def reasons(self, most: int = 3) -> str:
        """The most frequent reasons for which rows were refused, each with its count, but for weight and cap."""
        unfit = Counter({reason: count for reason, count in self.rejected.items() if reason not in BY_CHOICE})
        return ", ".join(f"{count:,} {reason}" for reason, count in (unfit or self.rejected).most_common(most))

    def check(self) -> None:
        """Every row that was read went to exactly one file."""
        if self.read != self.kept + self.rejected.total():
            raise RuntimeError(
                f"source {self.source.name!r}: {self.read} rows were read, but {self.kept} written and "
                f"{self.rejected.total()} refused; this is a bug of standardize"
            )


class Histogram:
    """Counts of lengths in fine steps, from which bars of any width are made."""

    def __init__(self, unit: str, limit: int = 0) -> None:
        self.unit, self.limit = unit, limit  # a limit above 0 is marked in the chart
        self.steps: Counter[int] = Counter()
        self.largest = self.total = 0

    def add(self, length: int) -> None:
        """Count one length."""
        self.steps[min(length, _LONGEST) // _STEP] += 1
        self.largest = max(self.largest, length)
        self.total += length

    @property
    def count(self) -> int:
        """How many lengths were counted."""
        return self.steps.total()

    def quantile(self, share: float) -> int:
        """A length that `share` of all do not exceed, to the next step."""
        seen = 0
        for step in sorted(self.steps):
            seen += self.steps[step]
            if seen >= share * self.count:
                return min((step + 1) * _STEP, self.largest)
        return 0

    def bars(self, most: int) -> tuple[int, list[int]]:
        """(width, counts) of at most `most` bars from 0 to the longest but 0.2 %; the last takes what is beyond."""
        top = self.quantile(0.998)
        width = next(
            w for n in range(12) for w in (_STEP * 2**n, _STEP * 3 * 2**n // 2) if w * most > top and w % _STEP == 0
        )
        counts = [0] * (top // width + 1)
        for step, count in self.steps.items():
            counts[min(step * _STEP // width, len(counts) - 1)] += count
        return width, counts


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
        self.findings: list[dict[str, Any]] = []
        self.histograms: dict[str, Histogram] = {}
        self._found: Counter[str] = Counter()
        self._shown: Counter[tuple[str, str]] = Counter()

    def begin(self, source: Source, schemas: Mapping[str, int]) -> Tally:
        """Start the tally of a source."""
        self._progress = Progress(f"standardize: {source.name}", "rows")
        self.tallies.append(Tally(source, schemas=schemas))
        return self.tallies[-1]

    def accept(self, tally: Tally, split: str, row: Mapping[str, Any], before: Any, copies: int = 1) -> None:
        """Write a row to the file of `split`, `copies` times with distinct ids."""
        tally.accepted[split] += 1
        tally.repeats += copies - 1
        for copy in range(copies):
            self._write(split, {**row, "id": f"{row['id']}-{copy + 1}"} if copy else row)
        self._example(tally, split, before, row, "")

    def refuse(self, tally: Tally, index: int, row: Any, refused: Refused) -> None:
        """Write a row to rejects.jsonl."""
        tally.rejected[refused.reason] += 1
        self._write("rejects", {"source": tally.source.name, "index": index, "reason": refused.reason, "row": row}
                    | refused.detail)  # fmt: skip
        if refused.reason in FINDINGS and self._found[refused.reason] < _FINDINGS:
            self._found[refused.reason] += 1
            self.findings.append({"source": tally.source.name, "index": index, "reason": refused.reason}
                                 | refused.detail)  # fmt: skip
        self._example(tally, refused.reason, row, None, refused.reason)

    def count(self, tally: Tally) -> None:
        """Count a row that was read, and say now and then how far it is."""
        tally.read += 1
        self._progress.add(1, f"{tally.kept:,} kept")

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
        self.files[name].write(_strict_json(row) + "\n")
        self.written[name] += 1

    def _example(self, tally: Tally, kind: str, before: Any, after: Any, reason: str) -> None:
        key = (tally.source.name, kind)
        if self._shown[key] < _EXAMPLES:
            self._shown[key] += 1
            self.examples.append({
                "source": tally.source.name, "split": kind if not reason else "rejects", "reason": reason,
                "before": before, "after": after,
            })  # fmt: skip


def _strict_json(row: Mapping[str, Any]) -> str:
    """One line of JSON; what JSON has no form for, as a Parquet row's dates, bytes and NaN, is shown as text."""
    try:
        return json.dumps(row, ensure_ascii=False, default=str, allow_nan=False)
    except ValueError:
        return json.dumps({**row, "row": str(row["row"])}, ensure_ascii=False, default=str)
