"""What is wrong with sources as a whole: nothing of one is kept, which ends the run, or little is of use, a warning."""

from collections.abc import Iterable, Iterator

from components.lib.data.detect import fitting
from components.lib.data.reasons import MISFIT
from components.lib.data.tally import Tally
from components.lib.recipe.schema import SAMPLED


def error(tallies: Iterable[Tally], seed: int) -> str:
    """The first source of which nothing is kept, and why; "" if there is none that is not `optional`."""
    empty = next((tally for tally in tallies if not tally.kept and not tally.source.optional), None)
    return f"{_nothing(empty, seed)}; correct it, or set `optional: true` for it" if empty else ""


def warnings(tallies: Iterable[Tally], least: float, seed: int) -> Iterator[str]:
    """A sentence for each source of which nothing is kept, or of whose rows a smaller share than `least` can be used.

    The base model's own solutions are mostly wrong, which `sample` says; of them only nothing at all is told.
    """
    for tally in tallies:
        if not tally.kept:
            yield _nothing(tally, seed)
        elif (share := tally.usable / tally.read) < least and tally.source.name != SAMPLED:
            yield (
                f"source {tally.source.name!r}, for {tally.source.use}: only {100 * share:.3g} % of its rows can be "
                f"used ({tally.usable:,} of {tally.read:,}; refused: {tally.reasons()})"
            )


def _nothing(tally: Tally, seed: int) -> str:
    name, adapter = f"source {tally.source.told}", tally.source.adapter
    if not tally.read:
        return f"{name} holds no rows"
    if set(tally.rejected) <= MISFIT:
        return f"{name}: no row fits the adapter {adapter!r} ({tally.reasons()}): {fitting(tally.source, seed)}"
    return f"{name}, for {tally.source.use}: none of its {tally.read:,} rows is kept ({tally.reasons()})"
