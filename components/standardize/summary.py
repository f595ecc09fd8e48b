"""The data summary: what happened to every row, as JSON, Markdown and one HTML page."""

import json
from html import escape
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from components.lib.data.reasons import FINDINGS, REASONS
from components.lib.data.splits import FILES, SPLITS
from components.lib.data.tally import Histogram, Ledger, Tally
from components.lib.files import write_json, write_text
from components.lib.recipe.schema import Standardize

BARS = 28
_WIDTH, _HEIGHT, _LEFT, _BASE = 520, 190, 44, 160  # of a chart, in its own units
_SHOWN = 1200  # characters of an example's text


def write_summary(ledger: Ledger, settings: Standardize, tokenizer: str, seed: int, out: Path) -> dict[str, float]:
    """Write summary.json, summary.md and summary.html to `out`; returns the counts as numbers to log."""
    summary = summarise(ledger, settings, tokenizer, seed)
    write_json(out / "summary.json", summary)
    folder = FileSystemLoader(Path(__file__).parent)
    for name, autoescape in (("summary.md", False), ("summary.html", True)):
        environment = Environment(
            loader=folder, undefined=StrictUndefined, autoescape=autoescape, trim_blocks=True, lstrip_blocks=True
        )
        environment.filters |= {"thousands": _thousands, "shown": _shown, "where": _where, "by_reason": _by_reason}
        charts = {title: chart(found) for title, found in ledger.histograms.items() if found.count}
        text = environment.get_template(name).render(
            **summary, reasons=REASONS, files=FILES, splits=SPLITS, charts=charts, examples=ledger.examples
        )
        write_text(out / name, text)
    numbers = {"read": summary["read"], **summary["rows"]}
    return {name: float(number) for name, number in numbers.items()}


def summarise(ledger: Ledger, settings: Standardize, tokenizer: str, seed: int) -> dict[str, Any]:
    """The content of summary.json: counts per source, file and reason, lengths, findings and settings."""
    return {
        "read": sum(tally.read for tally in ledger.tallies),
        "kept": sum(tally.kept for tally in ledger.tallies),
        "repeats": sum(tally.repeats for tally in ledger.tallies),
        "rows": {name: ledger.written[name] for name in FILES},
        "refused": ledger.reasons(),
        "sources": [_source(tally) for tally in ledger.tallies],
        "lengths": {title: _lengths(found) for title, found in ledger.histograms.items() if found.count},
        "findings": sorted(ledger.findings, key=lambda finding: FINDINGS.index(finding["reason"])),
        "settings": {**vars(settings), "seed": seed, "tokens": tokenizer},
    }


def _source(tally: Tally) -> dict[str, Any]:
    source = tally.source
    return {
        "name": source.name, "path": source.path, "adapter": source.adapter, "use": source.use,
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


def chart(found: Histogram) -> str:
    """A histogram as inline SVG; its colours are the page's."""
    width, counts = found.bars(BARS)
    step = (_WIDTH - _LEFT) / len(counts)
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="histogram of {escape(found.unit)}">',
        f'<text class="tick" x="{_LEFT - 6}" y="14" text-anchor="end">{max(counts):,}</text>',
        f'<text class="tick" x="{_LEFT - 6}" y="{_BASE}" text-anchor="end">0</text>',
        *(_bar(found, width, counts, number, step) for number in range(len(counts))),
    ]
    for number in range(0, len(counts), max(1, len(counts) // 6)):
        x = _LEFT + number * step
        parts.append(f'<text class="tick" x="{x:.1f}" y="{_BASE + 18}" text-anchor="middle">{number * width:,}</text>')
    if found.limit and found.limit < len(counts) * width:
        x = _LEFT + found.limit / width * step
        parts.append(f'<line class="limit" x1="{x:.1f}" y1="4" x2="{x:.1f}" y2="{_BASE}"/>')
    parts.append(f'<line class="axis" x1="{_LEFT}" y1="{_BASE}" x2="{_WIDTH}" y2="{_BASE}"/></svg>')
    return "".join(parts)


def _bar(found: Histogram, width: int, counts: list[int], number: int, step: float) -> str:
    height = (_BASE - 8) * counts[number] / max(counts)
    last = number == len(counts) - 1 and found.largest >= (number + 1) * width
    lengths = f"{number * width:,} and more" if last else f"{number * width:,} to {(number + 1) * width - 1:,}"
    over = " over" if found.limit and number * width > found.limit else ""
    return (
        f'<rect class="bar{over}" x="{_LEFT + number * step + 0.75:.1f}" y="{_BASE - height:.1f}" '
        f'width="{step - 1.5:.1f}" height="{height:.1f}">'
        f"<title>{lengths} {escape(found.unit)}: {counts[number]:,}</title></rect>"
    )


def _thousands(number: float) -> str:
    return f"{number:,}"


def _shown(value: Any) -> str:
    """A row as a reader wants to see it: text as it is, anything else as JSON, both cut at _SHOWN characters."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ... ({len(text):,} characters)"


def _by_reason(sources: list[dict[str, Any]], reason: str) -> str:
    """How many rows of which source were refused for a reason."""
    found = {source["name"].rsplit("/", 1)[-1]: source["refused"].get(reason, 0) for source in sources}
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
