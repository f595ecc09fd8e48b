"""Studies from registries as runs leave them: what is done, what is shared, and what the report says."""

from dataclasses import replace

import numpy as np
import pytest

from components.lib.files import read_json
from components.lib.recipe import files
from components.lib.recipe.recipes import with_value
from components.lib.recipe.settings import replace as changed
from components.lib.registry.outcome import write_outcome
from components.lib.registry.plan import Plan
from components.lib.registry.store import open_store
from components.lib.study import declared, results, runs, story, verb
from tests.fixtures.outcomes import outcome

PROBLEMS = 200


def leave(run, right, ending="measured", commit="a", run_id=""):
    """What a run leaves in its registry; `right` of its problems are right, of the base 20.

    Of its trainings only the last has a record, as where a cache has spared it the SFT.
    """
    store, run_id = open_store(run.recipe.registry), run_id or f"{run.variant}-{run.seed}"
    text = files.write(changed(run.recipe, registry="", checkpoints=""))
    last = run.recipe.stages[-1]
    curve = {
        "correct": [[1, 0.1], [2, right / PROBLEMS]],
        "loss": [[1, 2.0], [2, 1.0]],
        "completion_length": [[2, 9.0]],
    }
    if right == 20:
        del curve["correct"]  # as a run's results leave out what is zero throughout
    store.write_json(f"runs/{run_id}/results/results.json", {
        "run": {"recipe_file": text, "commits": [commit], "machines": ["no GPU, 1 thread"]}, "alarms": [],
        "curves": {last: curve},
    })  # fmt: skip
    counts = {"base": 20, last: right}
    store.write_json(f"runs/{run_id}/results/scores.json", {
        name: {"zero-shot": {str(k): float(k < count) for k in range(PROBLEMS)}} for name, count in counts.items()
    })  # fmt: skip
    plan = Plan(model="tiny", revision="", sources=(), evaluation=(), seed=run.seed).text()
    for step, more in (("preflight", {"details": {"plan": plan}}), (last, {"numbers": {"train_seconds": 30.0}})):
        store.write_json(f"runs/{run_id}/record/{step}.json", {
            "step": step, "outcome": "succeeded", "started": f"2026-01-01T00:00:0{run.seed}+00:00", "seconds": 60.0,
            "machine": {"gpus": ["one"]}, **more,
        })  # fmt: skip
    write_outcome(store, outcome(run_id, ending=ending, seconds={"sft": 100.0, "standardize": 9.0}))


@pytest.fixture
def study(tmp_path):
    """Two variants of three seeds and the base, of which one variant is better than the base and the other open."""
    made = declared.load("sft-or-not", "", ["compare_bootstrap_samples=200"])
    planned = runs.planned(made, tmp_path)
    right = {"sft": (60, 62, 61), "grpo": (21, 30, 22), "sft+grpo": (120, 124, 119)}
    for run in planned:
        leave(run, right[run.variant][run.seed])
    return made, planned, tmp_path


def test_the_report_says_what_can_be_said_and_what_cannot(study, capsys):
    made, _, output = study
    assert verb._report(made, output) == 0
    found = read_json(output / "study.json")
    assert [row["claimed"] for row in found["comparisons"]] == [True, False, True, True]
    told = story.sentences(found)
    assert found["changes"] == {"all": "compare_bootstrap_samples=200", "sft": "stages=sft", "grpo": "stages=grpo"}
    assert told[0].startswith("sft is better than base, zero-shot: +20.5 points (") and "3 seeds, adjusted p" in told[0]
    assert "nor that they do not. Some" in told[1] and "seeds would settle a difference like this one" in told[1]
    (row,) = [row for row in found["accuracies"] if row["variant"] == "sft"]
    assert row["seeds"] == {"0": 0.3, "1": 0.31, "2": 0.305} and row["interval"][0] < 0.305 < row["interval"][1]
    cost = found["costs"][-1]
    assert (cost["variant"], cost["train_seconds"]) == ("sft+grpo", 60.0), "the SFT's record is that of another run"
    assert cost["gpu_hours"] == pytest.approx(60 / 3600, abs=1e-4)
    assert cost["rollout_tokens"] == 9.0 * 2 * made.any_recipe.grpo.rows_per_step and not found["warnings"]
    page = (output / "study.html").read_text()
    assert page.count('class="c-2 curve"') == 3 and "<script" not in page and "Holm" in page
    assert "| sft | zero-shot | 200 | 30.0, 31.0, 30.5 | 30.5 |" in (output / "study.md").read_text()
    assert told[1] in capsys.readouterr().out


def test_the_same_variant_twice_claims_nothing(tmp_path):
    made = replace(declared.load("rewards"), name="twice")
    for run in runs.planned(made, tmp_path):
        leave(run, 100 + 5 * run.seed)
    found = results.compute(made, runs.planned(made, tmp_path))
    (row,) = found["comparisons"]
    assert not row["claimed"] and row["p_value"] == 1.0 and "no difference can be claimed" in story.headline(found)


def null(random, effect=0.0, noise=0.1, variants=4, seeds=3, problems=200):
    """Scores of a study whose variants are one; the last is better by `effect`. Each run has luck of its own."""
    names, table = [str(number) for number in range(variants)], {}
    for name in names:
        luck = random.normal(0.5 + effect * (name == names[-1]), noise, seeds).clip(0, 1)
        right = random.random((seeds, problems)) < luck[:, None]
        table[name] = {"zero-shot": {seed: dict(enumerate(row.astype(float))) for seed, row in enumerate(right)}}
    return table


def claims(scores):
    """How many of the comparisons with the first variant a report would claim."""
    first, *others = scores
    level = {"confidence": 0.95, "samples": 200}
    rows = [row for other in others for row in results.comparisons(scores, (first, other), level)]
    results.judge(rows, 0.05)
    return sum(row["claimed"] for row in rows)


def test_of_200_null_studies_the_report_claims_anything_of_16_at_most():
    """Test, adjustment and interval together; a difference that is there is claimed."""
    random = np.random.default_rng(0)
    assert sum(claims(null(random)) > 0 for _ in range(200)) <= 16
    assert sum(claims(null(random, effect=0.45, noise=0.01)) > 0 for _ in range(20)) >= 18


def test_whether_a_difference_depends_on_the_protocol(study, capsys):
    """GRPO gains 30 points zero-shot and loses 5 by examples, with every seed; SFT gains as much by both."""
    made, planned, output = study
    right = {"base": (20, 20), "sft": (60, 60), "grpo": (20, 20), "sft+grpo": (120, 50)}
    for run in planned:
        last, store = run.recipe.stages[-1], open_store(run.recipe.registry)
        store.write_json(f"runs/{run.variant}-{run.seed}/results/scores.json", {
            checkpoint: {
                protocol: {str(k): float(k < count + run.seed) for k in range(PROBLEMS)}
                for protocol, count in zip(("zero-shot", "8-shot"), right[variant], strict=True)
            }
            for checkpoint, variant in (("base", "base"), (last, run.variant))
        })  # fmt: skip
    asked = replace(made, across_protocols=(("base", "sft"), ("sft", "sft+grpo")))
    verb._report(asked, output)
    same, other = read_json(output / "study.json")["shifts"]
    assert (same["mean"], same["claimed"]) == (0.0, False) and other["claimed"]
    assert other["mean"] == pytest.approx(-0.35) and (other["protocol"], other["reference"]) == ("8-shot", "zero-shot")
    told = capsys.readouterr().out
    assert "depends on the protocol, 35.0 points less 8-shot than zero-shot: " in told
    assert "That the difference depends on the protocol cannot be said, nor that it does not." in told
    assert "8-shot less zero-shot" in (output / "study.md").read_text()
    verb._report(made, output)
    assert not read_json(output / "study.json")["shifts"], "it is a question of the family only where it is asked"


def test_a_difference_within_the_luck_of_the_problems_is_not_claimed(tmp_path):
    """All seeds agree to the problem, and the interval over problems holds zero."""
    made = declared.load("rewards", "", ["compare_bootstrap_samples=200"])
    for run in runs.planned(made, tmp_path):
        leave(run, 100 + (run.variant == "with-form"))
    found = results.compute(made, runs.planned(made, tmp_path))
    (row,) = found["comparisons"]
    assert row["p_adjusted"] == 0.0 and not row["claimed"] and story.settles(row) == "more problems"
    assert "The seeds agree, but 200 problems are too few." in story.sentences(found)[0]


def test_a_variant_that_never_learns_has_no_curve(study):
    made, planned, output = study
    for run in planned:
        if run.variant == "grpo":
            leave(run, 20)
    verb._report(made, output)
    assert "grpo: right answers in training, zero throughout" in (output / "study.html").read_text()


def test_two_seeds_give_no_p_value(study):
    made, planned, _ = study
    found = results.compute(replace(made, seeds=(0, 1)), [run for run in planned if run.seed < 2])
    assert {row["p_value"] for row in found["comparisons"]} == {None}
    assert "Nothing can be claimed of fewer than 3 seeds" in story.sentences(found)[0]


def test_what_is_missing_or_differs_is_told_before_the_numbers(study):
    made, planned, _ = study
    leave(planned[0], 60, ending="failed")
    leave(planned[1], 20, commit="b")
    found = results.compute(made, planned)
    assert found["warnings"] == [
        "1 of 9 runs have not come to their end: sft, seed 0.", "The runs were made by different commits: a, b.",
    ]  # fmt: skip
    assert [row["ending"] for row in found["runs"]][:2] == ["failed", "measured"]


def test_other_problems_cannot_be_paired(study):
    made, planned, _ = study
    store = open_store(planned[0].recipe.registry)
    store.write_json("runs/sft-0/results/scores.json", {"sft": {"zero-shot": {"x": 1.0}}, "base": {}})
    with pytest.raises(ValueError, match="were not asked the same problems"):
        results.compute(made, planned)


def test_only_what_is_new_has_to_run(study, capsys):
    made, _, output = study
    more = replace(made, seeds=(0, 1, 2, 3))
    assert [run.name for run in runs.planned(more, output) if not run.measured()] == [
        "sft, seed 3", "grpo, seed 3", "sft+grpo, seed 3",
    ]  # fmt: skip
    other = {name: with_value(recipe, "grpo_max_steps", 5) for name, recipe in made.recipes.items()}
    fresh = runs.planned(replace(made, recipes=other), output)
    assert not any(run.measured() for run in fresh), "another recipe is another run"
    assert verb._status(more, output, 0, None) == 0 and "9 of 12 runs done; left: about" in capsys.readouterr().out


def test_what_variants_share_is_done_once(tmp_path, capsys):
    made = declared.load("sft-or-not", "", ["compare_bootstrap_samples=200"])
    fresh = runs.new_steps(runs.planned(made, tmp_path))
    assert fresh[0] == ["standardize", "evaluate-base", "sft", "evaluate-sft"]
    assert fresh[1] == fresh[2] == ["grpo", "evaluate-grpo"] and fresh[3] == ["sft", "evaluate-sft"]
    assert verb._list(made, tmp_path, 0) == 0 and "9 runs, 0 done; left: about" in capsys.readouterr().out
    large = replace(made, recipes={n: changed(r, model="a/b") for n, r in made.recipes.items()})
    assert runs.seconds_left(runs.planned(large, tmp_path), {}) is None


def test_nothing_to_report_is_an_error(tmp_path):
    made = declared.load("rewards")
    with pytest.raises(ValueError, match="no run of study rewards has ended"):
        results.compute(made, runs.planned(made, tmp_path))
