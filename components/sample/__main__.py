"""The command line of sample: let the base model of a plan solve its training problems."""

import sys
from pathlib import Path

from components.lib.command import main
from components.lib.recipe.schema import Sample, Standardize
from components.lib.registry.plan import Plan
from components.sample.sample import sample


def draw(*, plan: Plan, out: Path, checkpoints: Path | None, split: Standardize, settings: Sample) -> str:
    """Let the base model of a plan solve its training problems; writes samples.jsonl."""
    if not settings.problems:
        raise ValueError("sample_problems is 0; say how many problems to ask with --set sample_problems=N")
    numbers = sample(plan=plan, split=split, settings=settings, out=out, checkpoints=checkpoints)
    counts = ", ".join(f"{name} {number:,.0f}" for name, number in numbers.items())
    return f"{counts} -> {out / 'samples.jsonl'}"


if __name__ == "__main__":
    sys.exit(main("sample", draw))
