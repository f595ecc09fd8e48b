"""Turn any mix of sources into the files that every later stage uses, and say what happened to every row."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from components.lib.data.rows import write_rows
from components.lib.data.tally import Histogram
from components.lib.files import code_sha256
from components.lib.generation.context import TAUGHT, spread
from components.lib.recipe.schema import Standardize
from components.lib.recipe.settings import plain, replace
from components.lib.registry.plan import Plan
from components.standardize.summary import write_summary


def standardize(*, plan: Plan, settings: Standardize, out: Path) -> dict[str, float]:
    """Write the files of `lib.data.rows.write_rows` and summary (.json, .md, .html) to `out`; returns the counts.

    `ValueError` if a source cannot be read, if no row of one that is not `optional` is kept, or if nothing is left;
    the files are there all the same. Of a source that keeps few rows log and summary warn; the log also has the values
    of other steps' limits that the lengths in the data ask for.
    """
    written = write_rows(plan=plan, settings=settings, out=out)
    numbers = write_summary(written, settings, plan.rows_seed, out)
    for line in _limits(written.ledger.histograms):
        print(f"standardize: {line}", flush=True)
    for warning in written.warnings:
        print(f"standardize: WARNING: {warning}", flush=True)
    if written.error:
        raise ValueError(f"{written.error}; see {out / 'rejects.jsonl'}")
    return numbers


def decisive(plan: Plan, settings: Standardize) -> dict[str, Any]:
    """All that decides what is written, as JSON values: of the run's seeds that of the rows alone."""
    known = replace(plan.hashed(), seed=plan.rows_seed, data_seed=plan.rows_seed)
    return {"plan": plain(known), "settings": plain(settings), "code": code_sha256()}


def _limits(histograms: Mapping[str, Histogram]) -> Iterator[str]:
    """What the lengths in the data say of the limits on a completion, which are settings of later steps."""
    wanted = ""
    for title in TAUGHT:
        if (found := histograms[title]).count:
            half, most = found.quantile(0.5), found.quantile(0.95)
            yield spread(title, {"median": half, "p95": most})
            wanted = wanted or (
                f"the limits on a completion should fit: evaluate_max_new_tokens and grpo_max_new_tokens {most} or "
                f"more, gate_max_mean_tokens {half} or more"
            )
    if wanted:
        yield wanted
