"""What GRPO's screening will cost: completions beside those of the training, from what is known of the sources."""

from components.lib.data.detect import resolved
from components.lib.data.sources import records
from components.lib.recipe.paths import kind_of
from components.lib.recipe.schema import Recipe, Source
from components.lib.registry.plan import Plan

THOUSAND = 1000  # problems, where their number is not known


def cost(recipe: Recipe, plan: Plan) -> str:
    """How many completions the screening will write, and their share of all that `grpo` writes; empty without one.

    Sources that lie here are counted, before anything is rejected; of others `cap` is the bound, if they have one.
    """
    each = recipe.grpo.screen_samples
    if "grpo" not in recipe.stages or not each:
        return ""
    counts = [_most(source, plan.rows_seed) for source in plan.sources]
    problems, how = THOUSAND, "for each 1,000 problems (how many there are, only their rows say)"
    if None not in counts:
        used = 1 - recipe.standardize.plateau_share - recipe.standardize.gate_share
        problems = round(used * sum(count or 0 for count in counts))
        how = f"{problems:,} problems at most"
    asked, trained = each * problems, recipe.grpo.max_steps * recipe.grpo.rows_per_step
    return (
        f"screening: {how}, {each} completions each: {asked:,} beside the {trained:,} of the training, "
        f"{asked / (asked + trained):.0%} of both; grpo_screen_samples=0 leaves it out"
    )


def _most(source: Source, seed: int) -> int | None:
    """How many problems a source has at most; None where only its rows would say, and they lie elsewhere."""
    if kind_of(source.path) not in ("file", "tiny"):
        return 0 if source.purpose == "sft" else source.cap or None
    if resolved(source, seed)[0].use == "sft":
        return 0
    count = round(min(1.0, source.weight) * sum(1 for _ in records(source, seed)))
    return min(count, source.cap or count)
