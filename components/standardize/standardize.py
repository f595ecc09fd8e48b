"""Turn any mix of sources into the files that every later stage uses, and say what happened to every row."""

from pathlib import Path

from components.lib.data.rows import write_rows
from components.lib.recipe.schema import Standardize
from components.lib.registry.plan import Plan
from components.standardize.summary import write_summary


def standardize(*, plan: Plan, settings: Standardize, out: Path) -> dict[str, float]:
    """Write the files of `lib.data.rows.write_rows` and summary (.json, .md, .html) to `out`; returns the counts.

    `ValueError` if a source cannot be read, if no row of a source that is not `optional` fits its adapter, or if
    nothing is left; the files are there all the same.
    """
    written = write_rows(plan=plan, settings=settings, out=out)
    numbers = write_summary(written.ledger, settings, written.tokens, plan.seed, out)
    if written.error:
        raise ValueError(f"{written.error}; see {out / 'rejects.jsonl'}")
    return numbers
