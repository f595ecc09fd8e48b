"""Groups that teach nothing: what dropping them on line (DAPO's dynamic sampling) costs, and what screening costs.

Run `python benchmarks/screening.py --output benchmarks/screening.md RUN...` with the `--output` directories of finished
runs that had no screening. A training says for each step which share of its groups was all right or all wrong; dropping
these on line would have written as many more groups as it takes for the step to be full. Of the screening only its own
completions are counted, as if it kept no problem that is ever such a group.
"""

import argparse
import sys
from pathlib import Path
from statistics import mean

sys.path.insert(0, str(Path(__file__).parents[1]))

from components.lib.files import read_json, read_jsonl, write_text
from components.lib.recipe import recipes

REAL, PROBLEMS = recipes.QWEN.grpo, 6875  # GSM8K's 7,473 without plateau and gate
THIRDS = 3


def main() -> None:
    """Read the runs, print the table in Markdown, and write it if asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="directory that a run was told by --output")
    parser.add_argument("--output", type=Path, help="Markdown file to write")
    asked = parser.parse_args()
    text = report([row(run) for run in asked.runs])
    print(text)
    if asked.output:
        write_text(asked.output, text)


def row(run: Path) -> str:
    """A row of the table: shares by thirds of the training, and completions."""
    (curves,) = run.glob("checkpoints/grpo-*/finished/curves/curves.jsonl")
    (merged,) = run.glob("artifacts/*/preflight/merged")
    (problems,) = run.glob("artifacts/*/standardize/data/problems.jsonl")
    recipe = read_json(merged)
    settings, shares = recipe["grpo"], [step["zero_variance"] for step in read_jsonl(curves)]
    if settings["screen_samples"]:
        raise ValueError(f"{run} has screened its problems: its groups are not those of a training without")
    each = settings["prompts_per_step"] * settings["generations"]
    third = -(-len(shares) // THIRDS)
    parts = [f"{mean(shares[start : start + third]):.0%}" for start in range(0, len(shares), third)]
    dropped = each * len(shares) * mean(shares) / (1 - mean(shares))
    distinct = len({problem["id"] for problem in read_jsonl(problems)})
    cells = [f"{recipe['name']}, seed {recipe['seed']}", f"{each * len(shares):,}", *parts]
    cells += [f"{mean(shares):.1%}", f"{dropped:,.0f}", f"{REAL.screen_samples * distinct:,}"]
    return f"| {' | '.join(cells)} |"


def report(rows: list[str]) -> str:
    """The table, and from which share on the screening of the recipe for a GPU costs less."""
    trained, screened = REAL.max_steps * REAL.rows_per_step, REAL.screen_samples * PROBLEMS
    share = screened / (screened + trained)
    lines = [
        "# Groups that teach nothing", "",
        "Completions of finished runs without screening, and which share of their groups was all right or all wrong. "
        "`python benchmarks/screening.py RUN...`", "",
        "| run | completions | first | second | last third | all | more, dropping on line | a screening's own |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |", *rows, "",
        f"The recipe qwen3.5-0.8b screens {PROBLEMS:,} problems with {screened:,} completions and trains on "
        f"{trained:,}: dropping on line would write as many more where {share:.0%} of all groups teach nothing. That "
        "share has not been measured there.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
