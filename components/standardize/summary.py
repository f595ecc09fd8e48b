"""The data summary: what happened to every row, as JSON, Markdown and one HTML page."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from markupsafe import Markup

from components.lib.data.reasons import FINDINGS, REASONS
from components.lib.data.rows import Written
from components.lib.data.splits import FILES, SPLITS
from components.lib.data.tally import Histogram, Tally
from components.lib.files import write_json, write_text
from components.lib.recipe.schema import Standardize
from components.lib.reporting import page, svg

BARS = 28
_SHOWN = 1200  # characters of an example's text


def write_summary(written: Written, settings: Standardize, seed: int, out: Path) -> dict[str, float]:
    """Write summary.json, summary.md and summary.html to `out`; returns the counts as numbers to log."""
    ledger, summary = written.ledger, summarise(written, settings, seed)
    write_json(out / "summary.json", summary)
    charts = {title: chart(found) for title, found in ledger.histograms.items() if found.count}
    for name in ("summary.md", "summary.html"):
        text = page.render(
            Path(__file__).with_name(name), **summary, reasons=REASONS, files=FILES, splits=SPLITS, charts=charts,
            examples=ledger.examples, shown=_shown, where=_where, by_reason=_by_reason, read_as=_read_as,
            twice=len({tally.source.name for tally in ledger.tallies}) < len(ledger.tallies),
        )  # fmt: skip
        write_text(out / name, text)
    numbers = {"read": summary["read"], **summary["rows"]}
    return {name: float(number) for name, number in numbers.items()}


def summarise(written: Written, settings: Standardize, seed: int) -> dict[str, Any]:
    """The content of summary.json: warnings, counts per source, file and reason, lengths, findings and settings."""
    ledger = written.ledger
    return {
        "warnings": written.warnings,
        "read": sum(tally.read for tally in ledger.tallies),
        "kept": sum(tally.kept for tally in ledger.tallies),
        "repeats": sum(tally.repeats for tally in ledger.tallies),
        "rows": {name: ledger.written[name] for name in FILES},
        "refused": ledger.reasons(),
        "sources": [_source(tally) for tally in ledger.tallies],
        "lengths": {title: _lengths(found) for title, found in ledger.histograms.items() if found.count},
        "findings": sorted(ledger.findings, key=lambda finding: FINDINGS.index(finding["reason"])),
        "settings": {**vars(settings), "seed": seed, "tokens": written.tokens},
    }


def _source(tally: Tally) -> dict[str, Any]:
    source = tally.source
    return {
        "name": source.name, "path": source.path, "adapter": source.adapter, "use": source.use,
        "answers": source.answers, "recognised": dict(tally.schemas),
        "revision": source.revision, "licence": source.licence, "cap": source.cap, "weight": source.weight,
        "read": tally.read, "kept": dict(tally.accepted), "refused": dict(tally.rejected.most_common()),
        "repeats": tally.repeats, "golds": tally.golds, "notes": {k: v for k, v in tally.notes.items() if v},
    }  # fmt: skip


def _lengths(found: Histogram) -> dict[str, Any]:
    width, counts = found.bars(BARS)
    return {
        "unit": found.unit, "count": found.count, "mean": round(found.total / found.count, 1),
        "median": found.quantile(0.5), "p95": found.quantile(0.95), "largest": found.largest, "limit": found.limit,
        "bar_width": width, "bars": counts,
    }  # fmt: skip


def chart(found: Histogram) -> Markup:
    """A histogram as inline SVG, in the colour of the figure around it; bars beyond the limit have another."""
    width, counts = found.bars(BARS)
    left, right, top, bottom = 40, svg.WIDTH - 8, 10, 126
    end = len(counts) * width
    x, y = svg.scale((0, end), (left, right)), svg.scale((0, max(counts)), (bottom, top))
    parts = [*svg.y_axis([(y(count), f"{count:,}") for count in (0, max(counts))], left, right)]
    labelled = range(0, end, width * max(1, len(counts) // 6))
    parts += svg.x_axis([(x(length), f"{length:,}") for length in labelled], bottom, bottom + 4)
    for low, count in zip(range(0, end, width), counts, strict=True):
        high = low + width
        lengths = f"{low:,} and more" if high == end <= found.largest else f"{low:,} to {high - 1:,}"
        over = "c-rejects" if found.limit and low > found.limit else ""
        tip = f"{lengths} {found.unit}: {count:,}"
        parts.append(svg.bar(over, x(low) + 0.75, y(count), x(width) - left - 1.5, bottom - y(count), tip))
    if found.limit and found.limit < end:
        parts.append(svg.line("limit", x(found.limit), 4, x(found.limit), bottom))
    return svg.figure(svg.WIDTH, 150, f"histogram of {found.unit}", parts)


def _shown(value: Any) -> str:
    """A row as a reader wants to see it: text as it is, anything else as JSON, both cut at _SHOWN characters."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ... ({len(text):,} characters)"


def _read_as(source: dict[str, Any]) -> str:
    """How a source was read, and what of its first rows said so."""
    told = f"{source['adapter']} for {source['use']}, answers {source['answers']}"
    found = ", ".join(f"{count:,} {name}" for name, count in source["recognised"].items())
    return f"{told} (first rows: {found})" if found else told


def _by_reason(sources: list[dict[str, Any]], reason: str) -> str:
    """How many rows of which source were refused for a reason."""
    found: Counter[str] = Counter()  # a source for both is there twice
    for source in sources:
        found[source["name"].rsplit("/", 1)[-1]] += source["refused"].get(reason, 0)
    return ", ".join(f"{name} {count:,}" for name, count in found.items() if count)


def _where(finding: dict[str, Any]) -> str:
    """What a finding was refused for, in words."""
    of = finding.get("of")
    parts = [f"{of['file']} (row {of['index']} of {of['source']})"] if of else []
    if "words" in finding:
        parts.append(f"“{finding['words']}”")
    if "similarity" in finding:
        parts.append(f"similarity {finding['similarity']}")
    if "gold" in finding and ("solution" in finding or "answer" in finding):
        other = finding.get("solution", finding.get("answer"))
        parts.append(f"gold {finding['gold']}, but the text ends in {other}")
    return ", ".join(parts)
