"""The pipeline: its DAG, and the verbs that run it.

python pipeline.py run --recipe tiny --output out     everything on this machine
python pipeline.py compile --recipe qwen3.5-0.8b      a YAML for the Kubeflow UI and the kfp command line
python pipeline.py submit --recipe qwen3.5-0.8b --set registry=s3://BUCKET/PREFIX --wait
python pipeline.py schedule create weekly --cron '0 3 * * 0' --recipe qwen3.5-0.8b --set registry=...
python pipeline.py doctor --recipe qwen3.5-0.8b --set registry=...   is a cluster ready for it?
python pipeline.py history --registry out/registry    past runs and champions, as a table and a page with a plot
python pipeline.py score completions.jsonl            judge completions against gold answers
python pipeline.py ask --model DIR "question"         put one question to a model
python pipeline.py teach --url https://host/v1 ...    traces by a teacher model behind an API, as a source of SFT
python pipeline.py tiny --output DIR --seed 0         rebuild the demo's base model
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any

from components.lib.cluster import images
from components.lib.cluster import verbs as verbs_of_the_cluster
from components.lib.recipe import recipes
from components.lib.recipe.schema import Recipe
from components.lib.recipe.settings import to_json

NAME = "grpo-pipeline"


def build(recipe: Recipe, run_id: str | None = None) -> Any:
    """The KFP pipeline of a recipe: its values are the parameters' defaults, what it leaves out is not compiled.

    With a `run_id`, the key of the run record, it is for this machine; without one it is for a cluster, where KFP's
    run id is the key, and every step gets its place.
    """
    from kfp import dsl

    from components.lib.cluster import placement

    recipe = recipe if run_id else placement.for_cluster(recipe)

    def graph(*values: Any) -> None:
        parameters = dict(zip(recipes.PARAMETERS, values, strict=True))
        _wire(recipe, parameters, run_id)
        if not run_id:
            placement.place_all(recipe.cluster)

    kinds = recipes.flat_fields()
    graph.__signature__ = Signature(  # type: ignore[attr-defined]
        [
            Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=value, annotation=type(value))
            for name, value in ((name, recipes.value(recipe, name)) for name in recipes.PARAMETERS if name in kinds)
        ]
    )
    graph.__doc__ = f"SFT, GRPO, evaluation and gated push with the recipe {recipe.name}."
    config = None if run_id else placement.pipeline_config(recipe.cluster)
    return dsl.pipeline(name=NAME, description=graph.__doc__, pipeline_config=config)(graph)


def _wire(recipe: Recipe, parameters: dict[str, Any], run_id: str | None) -> None:
    from kfp import dsl

    from components.notify.component import notify
    from components.preflight.component import preflight

    run = {"registry": parameters["registry"], "run_id": run_id or dsl.PIPELINE_JOB_ID_PLACEHOLDER}
    ending = notify(**run, settings=to_json(recipe.notify))
    with dsl.ExitHandler(ending.set_display_name("Report the ending"), name="run"):
        checked = preflight(recipe=to_json(recipe), run_id=run["run_id"], **parameters)
        checked.set_display_name("Preflight").set_caching_options(False)
        with dsl.If(checked.outputs["Output"] != "", name="something-changed"):
            # KFP's run id as an argument would keep the cached steps from ever being reused: they read it elsewhere.
            _train_and_judge(recipe, run, {**run, "run_id": run_id or ""}, checked.outputs)


def _train_and_judge(recipe: Recipe, run: dict[str, Any], cached: dict[str, Any], checked: dict[str, Any]) -> None:
    from kfp import dsl

    from components.compare.component import compare
    from components.gate.component import gate
    from components.standardize.component import standardize

    plan = checked["Output"]
    samples = _sample(cached, checked) if recipe.sample.problems else {}
    data = standardize(**cached, plan=plan, settings=checked["standardize"], **samples)
    data.set_display_name("Standardize")
    shared = {**cached, "plan": plan, "data": data.outputs["data"]}
    items = {"base": _evaluate(shared, checked, "base", None)}
    last = recipe.stages[-1]
    trained: dict[str, Any] = {}
    for stage in recipe.stages:
        trained[stage] = _train(shared, checked, stage, recipe, trained.get("sft"))
        # The candidate's step also measures the champion, where its kept answers cannot be compared.
        champion = {"champion": checked["champion"]} if stage == last else {}
        items[stage] = _evaluate(shared, checked, stage, trained[stage], **champion)
    curves = {f"{stage}_curves": task.outputs["curves"] for stage, task in trained.items()}
    compared = compare(**run, settings=checked["compare"], data=shared["data"], **items, **curves)
    compared.set_display_name("Compare").set_caching_options(False)
    decision = gate(**run, settings=checked["gate"], base=items["base"], candidate=items[last])
    # Compare comes first, so that a rejected model has its report too.
    decision.set_display_name("Gate").set_caching_options(False).after(compared)
    with dsl.If(decision.outputs["Output"] == "promote", name="promote"):
        _push(
            run, checked, model=trained[last].outputs["model"], candidate=items[last], data=shared["data"],
            results=compared.outputs["results"], decision=decision.outputs["decision"],
        )  # fmt: skip


def _sample(cached: dict[str, Any], checked: dict[str, Any]) -> dict[str, Any]:
    from components.sample.component import sample

    task = sample(**cached, plan=checked["Output"], settings=checked["sample"], split=checked["standardize"])
    return {"samples": task.set_display_name("Sample").outputs["samples"]}


def _evaluate(
    shared: dict[str, Any], checked: dict[str, Any], checkpoint: str, trained: Any, champion: Any = ""
) -> Any:
    from components.evaluate.component import evaluate

    policy = {"policy": trained.outputs["model"]} if trained else {}
    task = evaluate(**shared, settings=checked["evaluate"], checkpoint=checkpoint, champion=champion, **policy)
    return task.set_display_name(f"Evaluate {checkpoint}").outputs["items"]


def _train(shared: dict[str, Any], checked: dict[str, Any], stage: str, recipe: Recipe, warm: Any) -> Any:
    from components.grpo.component import grpo
    from components.sft.component import sft

    settings = {"settings": checked[stage], "training": checked["training"], "scale": checked["scale"]}
    trainjob = to_json(recipe.cluster) if recipe.trainer == "trainjob" else ""
    inputs = {**shared, **settings, "checkpoints": recipe.checkpoints, "trainjob": trainjob}
    if stage == "sft":
        task = sft(**inputs).set_display_name("SFT")
    else:
        policy = {"policy": warm.outputs["model"]} if warm else {}
        task = grpo(**inputs, **policy).set_display_name("GRPO")
    # A step that only launches a TrainJob must not hold the GPU that the job needs.
    return task.set_container_image(images.DATA) if trainjob else task


def _push(run: dict[str, Any], checked: dict[str, Any], **artifacts: Any) -> None:
    from components.push.component import push

    task = push(
        **run, plan=checked["Output"], recipe=checked["merged"], fingerprint=checked["fingerprint"],
        settings=checked["push"], **artifacts,
    )  # fmt: skip
    task.set_display_name("Push").set_caching_options(False)


def _verb_run(arguments: argparse.Namespace) -> int:
    from components.lib import local

    return local.run(chosen_recipe(arguments), output=Path(arguments.output), runner=arguments.runner, build=build)


def _verb_compile(arguments: argparse.Namespace) -> int:
    from kfp import compiler

    recipe = chosen_recipe(arguments)
    path = Path(arguments.output or f"{recipe.name}.yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    compiler.Compiler().compile(build(recipe), str(path))
    print(f"recipe {recipe.name} with {len(recipes.PARAMETERS)} parameters -> {path}")
    return 0


def _verb_score(arguments: argparse.Namespace) -> int:
    from components.lib.answers.score import score_file

    return score_file(arguments.file, arguments.output)


def _verb_history(arguments: argparse.Namespace) -> int:
    from components.lib.reporting.history_page import show

    return show(arguments.registry, arguments.output)


def _verb_ask(arguments: argparse.Namespace) -> int:
    from components.lib.generation.ask import ask

    return ask(
        arguments.question, model=arguments.model, revision=arguments.revision,
        max_new_tokens=arguments.max_new_tokens, temperature=arguments.temperature, seed=arguments.seed,
    )  # fmt: skip


def _verb_teach(arguments: argparse.Namespace) -> int:
    from components.lib.data.teacher import run

    return run(arguments)


def _verb_tiny(arguments: argparse.Namespace) -> int:
    from components.lib.tiny.build import build_base

    build_base(arguments.output, arguments.seed)
    return 0


def chosen_recipe(arguments: argparse.Namespace) -> Recipe:
    """The recipe of `--recipe` with every `--set name=value` on top."""
    return recipes.chosen(arguments.recipe, arguments.set)


def parser() -> argparse.ArgumentParser:
    """The command line: one sub-command per verb."""
    top = argparse.ArgumentParser(
        prog="pipeline.py", description="Teach a small language model to reason: SFT, GRPO, judged."
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    run = _verb(verbs, "run", "run the whole pipeline on this machine", _verb_run)
    recipes.add_arguments(run)
    run.add_argument("--output", default="out", metavar="DIR", help="where everything goes (default: out)")
    run.add_argument("--runner", default="subprocess", choices=("subprocess", "docker"), help="how each step runs")
    build_yaml = _verb(verbs, "compile", "write the pipeline as YAML for Kubeflow", _verb_compile)
    recipes.add_arguments(build_yaml)
    build_yaml.add_argument("--output", metavar="FILE", help="the YAML (default: RECIPE.yaml)")
    verbs_of_the_cluster.add(verbs, verb=_verb, add_recipe=recipes.add_arguments, chosen=chosen_recipe, build=build)
    history = _verb(verbs, "history", "show past runs and champions of a registry", _verb_history)
    history.add_argument("--registry", default="out/registry", metavar="PLACE", help="directory or s3:// address")
    history.add_argument("--output", default=Path("out/history.html"), metavar="FILE", type=Path, help="the page")
    score = _verb(verbs, "score", "judge the completions of a JSON Lines file", _verb_score)
    score.add_argument("file", metavar="FILE.jsonl", type=Path, help="lines with `completion` and `gold`")
    score.add_argument(
        "--output", metavar="FILE", type=Path, help="where the judged lines go (default: standard output)"
    )
    _more_verbs(verbs)
    return top


def _more_verbs(verbs: Any) -> None:
    """The verbs that need no recipe: ask, teach, tiny."""
    settings = recipes.QWEN.evaluate
    ask = _verb(verbs, "ask", "put one question to a model", _verb_ask)
    ask.add_argument("question", help="the question, in quotes")
    ask.add_argument("--model", required=True, help="model directory, Hub id, or tiny")
    ask.add_argument("--revision", default="main", help="branch, tag or commit of a Hub model (default: main)")
    ask.add_argument("--max-new-tokens", type=int, default=settings.max_new_tokens, help="longest answer in tokens")
    ask.add_argument("--temperature", type=float, default=settings.temperature, help="0: greedy")
    ask.add_argument("--seed", type=int, default=recipes.QWEN.seed, help="seed of the draws")
    teach = _verb(verbs, "teach", "let a teacher model behind an API solve problems", _verb_teach)
    teach.add_argument("--url", required=True, help="OpenAI-compatible API, as https://api.anthropic.com/v1")
    teach.add_argument("--model", required=True, help="name of the model there")
    teach.add_argument("--problems", required=True, type=Path, help="problems.jsonl of standardize")
    teach.add_argument("--output", required=True, type=Path, help="where the right traces are appended")
    teach.add_argument("--samples", required=True, type=int, help="traces per problem")
    teach.add_argument("--max-tokens", required=True, type=int, help="longest answer in tokens")
    teach.add_argument("--requests-per-minute", required=True, type=float, help="most requests a minute")
    teach.add_argument("--workers", required=True, type=int, help="requests under way together")
    tiny = _verb(verbs, "tiny", "rebuild the embedded base model of the demo", _verb_tiny)
    tiny.add_argument("--output", required=True, type=Path, help="directory for the model and its tokenizer")
    tiny.add_argument("--seed", required=True, type=int, help="seed of the weights and of the pre-training texts")


def _verb(verbs: Any, name: str, help: str, function: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
    verb.set_defaults(function=function)
    return verb


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; what a user can mend is one line on stderr and exit status 2."""
    chosen = parser().parse_args(arguments)
    try:
        return chosen.function(chosen)
    except ValueError as error:
        print(f"pipeline.py {chosen.verb}: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
