"""Turn any mix of sources into the files that every later stage uses, and say what happened to every row."""

from pathlib import Path
from typing import Any

from components.lib.data.rows import write_rows
from components.lib.files import code_sha256
from components.lib.recipe.schema import Standardize
from components.lib.recipe.settings import plain, replace
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


def decisive(plan: Plan, settings: Standardize) -> dict[str, Any]:
    """All that decides what is written, as JSON values: of the run's seeds that of the rows alone."""
    known = replace(plan.hashed(), seed=plan.rows_seed, data_seed=plan.rows_seed)
    return {"plan": plain(known), "settings": plain(settings), "code": code_sha256()}
