"""The data summary: what happened to every row, as JSON, Markdown and one HTML page."""

from pathlib import Path
from typing import Any

from components import recipes
from components.files import write_json, write_text
from components.standardize.reasons import REASONS
from components.standardize.tally import FILES, Ledger


def write_summary(
    ledger: Ledger, settings: recipes.Standardize, tokenizer: str, seed: int, out: Path
) -> dict[str, float]:
    """Write summary.json, summary.md and summary.html to `out`; returns the counts as numbers to log."""
    summary = {
        "rows": {name: ledger.written[name] for name in FILES},
        "read": sum(tally.read for tally in ledger.tallies),
        "reasons": ledger.reasons(),
    }
    write_json(out / "summary.json", summary)
    write_text(out / "summary.md", str(summary))
    write_text(out / "summary.html", str(summary))
    return {"read": float(summary["read"]), **{name: float(ledger.written[name]) for name in FILES}}
