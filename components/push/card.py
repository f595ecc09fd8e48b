"""The model card of a release, and its scores as the Hub's evaluation metadata."""

import json
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, ModelCardData, eval_result_entries_to_yaml

from components.lib.answers.final import in_form
from components.lib.files import write_text
from components.lib.generation import prompts
from components.lib.model.names import from_hub
from components.lib.recipe.schema import Recipe, Source
from components.lib.recipe.settings import to_json
from components.lib.registry.plan import Plan
from components.lib.reporting import escape
from components.lib.reporting.table import markdown
from components.lib.reporting.wording import about

HUB_TASKS = {"openai/gsm8k": "gsm8k"}  # benchmark data sets of the Hub -> their task, for .eval_results
MATHS = {"number", "math"}  # kinds of answers
SCORED = "zero-shot"  # the one protocol whose score stands for the model
ELSEWHERE = "other"  # the id of a data set that is not on the Hub, where the Hub wants one

_TEXT = """
# {title}

{base} trained to reason on problems whose answers can be checked: {stages}, by the recipe {recipe}. The answer
stands on the last line as `{form}`; the reasoning before it, between `<think>` and `</think>`.

## Results

{table}

Strict accuracy: only the answer in that form counts ({kinds}). Intervals are Wilson's,
p-values those of an exact paired test (McNemar) against the checkpoint one line up. The figures were measured
before the weights were rounded to bfloat16. Every answer is in `evaluation/items.jsonl`, those of the gate's
problems also in `evaluation/gate.jsonl`.

## How to prompt it

Ask one question per conversation, without worked examples, with this instruction in the {instruction}, and render
the chat template with `enable_thinking=True`{where}:

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained({name})
model = AutoModelForCausalLM.from_pretrained({name})
messages = {messages}
prompt = tokenizer.apply_chat_template(
    messages, add_generation_prompt=True, enable_thinking=True, return_tensors="pt", return_dict=True
)
output = model.generate(**prompt, max_new_tokens={max_new_tokens}, do_sample={sampled})
print(tokenizer.decode(output[0, prompt["input_ids"].shape[1]:], skip_special_tokens=True))
```
{others}

## How it was trained

{training}

Data, each at the revision that was used:

{sources}

`provenance.json` has every setting, revision, package version and file hash. Run: {run_id}. Seed: {seed}.

## Limits

- It was trained and measured on problems like those of the sources below the table; nothing else was tested.
- A plausible chain of reasoning can end in a wrong answer; {wrong}.
- Worked examples in the prompt may lower its accuracy; the table says what was measured.
- The licences of the training data are listed above; where one is unknown, ask its owner before you build on it.
"""


def write_card(
    out: Path, *, plan: Plan, recipe: Recipe, results: list[dict[str, Any]],
    candidate: str, run_id: str, origin: dict[str, Any], data_url: str, instruction: str, kinds: list[str],
) -> None:  # fmt: skip
    """Write `README.md` and, where all of a benchmark of the Hub and nothing else was asked, `.eval_results/*.yaml`.

    `results` are the entries of results.json, those of one source with its name; `candidate` is the checkpoint that is
    released; `origin` says on what it was trained, `data_url` where the SFT conversations lie on the Hub, if they do,
    `instruction` in which turn the system prompt stood, `kinds` of which kinds the answers were that it was asked for.
    """
    mine = [entry for entry in results if entry["checkpoint"] == candidate]
    subject = ["math"] if MATHS & set(kinds) else []
    title = f"{Path(plan.model).name}-{Path(recipe.name).name}"
    base = plan.model if from_hub(plan.model, plan.revision) else None
    data = ModelCardData(
        base_model=base,
        base_model_relation="finetune" if base else None,
        datasets=sorted(filter(None, {_on_hub(source) for source in (*plan.sources, *plan.evaluation)})) or None,
        license=recipe.push.licence,
        license_name=recipe.push.licence_name or None,
        language="en",
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["reasoning", *subject, "grpo" if "grpo" in recipe.stages else "sft", "trl"],
        model_name=title,
        eval_results=[_eval_result(entry, plan.evaluation) for entry in mine],
    )
    text = _TEXT.format(
        title=escape.markdown(title), where="" if recipe.push.hub_repo else ", in the directory of this file",
        name=json.dumps(recipe.push.hub_repo or "."),
        base=escape.code(plan.model),
        recipe=escape.code(recipe.name), table=_table(results), form=in_form("ANSWER", plan.form),
        kinds=escape.markdown(", ".join(kinds)), instruction=instruction,
        messages=_messages(plan, instruction, kinds[0]), others=_others(plan, kinds),
        max_new_tokens=recipe.evaluate.max_new_tokens, sampled=recipe.evaluate.temperature > 0,
        run_id=escape.code(run_id), stages=" then ".join(name.upper() for name in recipe.stages),
        training=_training(recipe, plan, origin), sources=_sources(plan, data_url), seed=plan.seed, wrong=_wrong(mine),
    )  # fmt: skip
    write_text(out / "README.md", f"---\n{data.to_yaml()}\n---\n{text}")
    if benchmark := _benchmark(plan, recipe):
        entries = [_entry(entry, benchmark) for entry in mine if entry["protocol"] == SCORED]
        name = f"{HUB_TASKS[benchmark.path]}.yaml"
        write_text(out / ".eval_results" / name, yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False))


def _others(plan: Plan, kinds: list[str]) -> str:
    """How the instruction ends for the other kinds of answers, where the recipe has none of its own."""
    ends = {kind: prompts.system_prompt(plan.form, kind).rpartition(": ")[2] for kind in kinds[1:]}
    told = ", ".join(f"for {escape.markdown(kind)} with {escape.code(end)}" for kind, end in ends.items())
    return f"\nThe instruction ends {told}." if told and not plan.system_prompt else ""


def _messages(plan: Plan, instruction: str, kind: str) -> str:
    """Python code of the messages that ask a question."""
    asked = "Tom has 7 cards. Tom finds 9. How many cards now?" if kind == "number" else "QUESTION"
    system, user = prompts.question_messages(asked, plan.system_prompt or prompts.system_prompt(plan.form, kind))
    if instruction == "user turn":
        return json.dumps([prompts.in_user_turn(system, user)], indent=4)
    return json.dumps([system, user], indent=4)


def _on_hub(source: Source) -> str:
    """The Hub id of a source; empty for one that did not come from there, whatever it is called."""
    return source.path if from_hub(source.path, source.revision) else ""


def _benchmark(plan: Plan, recipe: Recipe) -> Source | None:
    """The evaluation source if the score is that of the whole test split of a benchmark of the Hub."""
    source = plan.evaluation[0]
    alone = len(plan.evaluation) == 1 and recipe.evaluate.problems == 0
    whole = source.split == "test" and not source.file and source.cap == 0 and source.weight == 1
    return source if alone and whole and _on_hub(source) in HUB_TASKS else None


def _eval_result(entry: dict[str, Any], sources: tuple[Source, ...]) -> EvalResult:
    """A score with its data set; of several together, all names and no revision."""
    low, high = entry["interval"]
    sources = tuple(source for source in sources if source.label == entry.get("source", source.label))
    source = sources[0] if len(sources) == 1 and _on_hub(sources[0]) else None
    return EvalResult(
        task_type="text-generation",
        task_name="Problems with answers that can be checked",
        dataset_type=", ".join(dict.fromkeys(_on_hub(each) or ELSEWHERE for each in sources)),
        dataset_name=", ".join(each.label for each in sources),
        dataset_config=source.config or None if source else None,
        dataset_split=source.split if source else None,
        dataset_revision=source.revision if source else None,
        metric_type="accuracy",
        metric_name=f"strict accuracy, {entry['protocol']}, interval {low:.4f} to {high:.4f}, n = {entry['n']}",
        metric_value=round(entry["accuracy"], 6),
        verified=False,
    )


def _entry(entry: dict[str, Any], source: Source) -> EvalResultEntry:
    low, high = entry["interval"]
    return EvalResultEntry(
        dataset_id=source.path,
        task_id=HUB_TASKS[source.path],
        dataset_revision=source.revision,
        value=round(100 * entry["accuracy"], 2),
        notes=f"{entry['protocol']}, strict match, interval {100 * low:.2f} to {100 * high:.2f}, n = {entry['n']}",
    )


def _table(results: list[dict[str, Any]]) -> str:
    rows = [
        (entry["checkpoint"], what, entry["n"], f"{entry['accuracy']:.1%}",
         f"{entry['interval'][0]:.1%} to {entry['interval'][1]:.1%}",
         "" if entry.get("p_value") is None else f"{entry['p_value']:.2g}")
        for what in dict.fromkeys(map(about, results))
        for entry in results if about(entry) == what
    ]  # fmt: skip
    return markdown("llrrrr", ("checkpoint", "protocol", "n", "accuracy", "interval", "p-value"), rows)


def _training(recipe: Recipe, plan: Plan, origin: dict[str, Any]) -> str:
    code, gpus = escape.code, escape.markdown(", ".join(origin["gpus"]))
    hardware = f"{gpus}, {origin['gpu_hours']:.1f} GPU-hours" if gpus else "no GPU"
    base = f"{code(plan.model)} at {code(plan.revision)}"
    lines = [f"Base: {base}. Hardware: {hardware}. Settings of each stage:", ""]
    if recipe.sample.problems:
        lines += [f"- sample, right solutions of the base itself among the data of SFT: {code(to_json(recipe.sample))}"]
    lines += [f"- {name}: {code(to_json(getattr(recipe, name)))}" for name in recipe.stages]
    return "\n".join(lines)


def _sources(plan: Plan, data_url: str) -> str:
    rows = [
        (
            source.label,
            escape.code(source.path),
            escape.code(source.revision),
            source.licence,
            use,
        )
        for use, sources in (("training", plan.sources), ("evaluation", plan.evaluation))
        for source in sources
    ]
    parts = [markdown("lllll", ("source", "where", "revision", "licence", "use"), rows)]
    parts += [
        f"Answers of {escape.code(answers)} were judged by a checker of the user's own, {escape.code(digest)}."
        for answers, digest in plan.hashed().checkers.items()
    ]
    if data_url:
        parts.append(f"The SFT conversations as they were used: {data_url}")
    return "\n\n".join(parts)


def _wrong(mine: list[dict[str, Any]]) -> str:
    scored = [entry for entry in mine if entry["protocol"] == SCORED]
    if not scored:
        return "check the answers that matter"
    return f"zero-shot, {1 - scored[0]['accuracy']:.0%} of its answers on the evaluation problems were wrong or missing"
