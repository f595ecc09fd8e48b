"""Turn any mix of sources into the files that every later stage uses, and say what happened to every row."""

from pathlib import Path

from components.lib.data.rows import write_rows
from components.lib.recipe.schema import Standardize
from components.lib.registry.plan import Plan
from components.standardize.summary import write_summary


def standardize(*, plan: Plan, settings: Standardize, out: Path) -> dict[str, float]:
    """Write the files of `lib.data.rows.write_rows` and summary (.json, .md, .html) to `out`; returns the counts.

    `ValueError` if a source cannot be read, if no row of one that is not `optional` is kept, or if nothing is left;
    the files are there all the same. Of a source that keeps few rows log and summary warn.
    """
    written = write_rows(plan=plan, settings=settings, out=out)
    numbers = write_summary(written, settings, plan.rows_seed, out)
    for warning in written.warnings:
        print(f"standardize: WARNING: {warning}", flush=True)
    if written.error:
        raise ValueError(f"{written.error}; see {out / 'rejects.jsonl'}")
    return numbers
