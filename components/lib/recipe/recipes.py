"""The frozen recipes: every default of the project lives here and nowhere else.

A recipe is one settings class per stage (see settings.py) plus what all stages share. Its fields have flat
names, `learning_rate` of stage `grpo` being `grpo_learning_rate`; `override` sets any of them from text, and
PARAMETERS lists the few that stay adjustable in a compiled pipeline.
"""

import json
from collections.abc import Mapping
from typing import Any

from components.lib.recipe.release import check_release
from components.lib.recipe.schema import (
    CHECKER,
    KINDS,
    NAMED,
    PROTOCOLS,
    SAMPLED,
    STAGES,
    Cluster,
    Compare,
    Evaluate,
    Gate,
    Grpo,
    Keep,
    Notify,
    Push,
    Recipe,
    Sample,
    Scale,
    Sft,
    Source,
    Standardize,
    Training,
)
from components.lib.recipe.settings import Settings, near, parse, plain, replace

# What one changes from run to run: these stay parameters of a compiled pipeline.
PARAMETERS = (
    "model", "revision", "registry", "seed", "always",
    "sft_learning_rate", "sft_epochs",
    "grpo_learning_rate", "grpo_max_steps", "grpo_prompts_per_step", "grpo_generations", "grpo_max_new_tokens",
    "grpo_beta",
    "evaluate_problems", "evaluate_max_new_tokens", "evaluate_samples",
    "gate_margin", "gate_force", "push_hub_repo", "push_private",
)  # fmt: skip

TINY = Recipe(
    name="tiny",
    model="tiny",
    revision="main",
    sources=(
        Source(name="chat", path="tiny:chat", adapter="chat", licence="apache-2.0"),
        Source(
            name="thinking-solution", path="tiny:thinking-solution", adapter="thinking-solution", licence="apache-2.0",
        ),
        Source(
            name="prompt-completion", path="tiny:prompt-completion", adapter="prompt-completion", licence="apache-2.0",
        ),
        Source(name="problems", path="tiny:problems", adapter="gsm8k", licence="apache-2.0"),
    ),
    evaluation=(Source(name="evaluation", path="tiny:evaluation", adapter="gsm8k", licence="apache-2.0"),),
    stages=STAGES,
    form="marker",
    system_prompt="",
    checkers={},
    seed=0,
    data_seed=-1,
    registry="",
    checkpoints="",
    trainer="process",
    always=False,
    lock_timeout_s=3600,
    sample=Sample(
        problems=0, per_problem=4, backend="transformers", temperature=1.0, max_new_tokens=48, batch_size=128,
        batch_tokens=65_536, gpu_memory_utilization=0.85, decode_graphs=True,
    ),
    standardize=Standardize(
        max_tokens=256, plateau_share=0.02, gate_share=0.06, duplicate_similarity=1.0, overlap_words=13, min_kept=0.5
    ),
    sft=Sft(
        learning_rate=5e-4, epochs=10.0, max_steps=60, batch_size=32, micro_batch_size=32, warmup_steps=10,
        schedule="linear", weight_decay=0.0, max_tokens=256, gradient_checkpointing=False, lora_rank=0,
    ),
    grpo=Grpo(
        learning_rate=1e-4, max_steps=60, prompts_per_step=8, generations=8, micro_batch_size=64, max_new_tokens=48,
        temperature=1.0, top_p=1.0, beta=0.0, epsilon=0.2, epsilon_high=0.28, loss_type="dapo", scale_rewards="group",
        warmup_steps=5, schedule="constant", correct_weight=1.0, think_weight=0.3, marker_weight=0.2,
        screen_samples=0, curriculum=0.0, mask_truncated=False, gradient_checkpointing=False, lora_rank=0,
        rollouts="transformers", vllm_memory_share=0.3, rollout_batch_size=64, decode_graphs=True, sample_steps=5,
        plateau_steps=0, plateau_patience=0, plateau_problems=64,
    ),
    training=Training(
        save_minutes=10.0, keep=2, restarts=3, gpu_memory_gib=0.0, alarm_entropy=0.1, alarm_zero_variance=0.8,
        alarm_truncated=0.2, alarm_kl=0.5, alarm_length=2.5, alarm_format=0.1,
    ),
    scale=Scale(nodes=1, processes=1, sharding="none", runtime="grpo-pipeline", start_timeout_s=600),
    evaluate=Evaluate(
        protocols=("zero-shot", "8-shot"), backend="transformers", max_new_tokens=48, batch_size=128,
        batch_tokens=65_536, gpu_memory_utilization=0.85, decode_graphs=True, problems=400, gate_problems=400,
        gate_protocols=("zero-shot",), temperature=0.0, samples=1,
    ),
    compare=Compare(confidence=0.95, bootstrap_samples=2000, examples=4),
    gate=Gate(
        candidate="last", margin=0.0, alpha=0.05, max_truncated=0.1, min_well_formed=0.5, max_mean_tokens=40.0,
        max_few_shot_loss=0.02, max_source_loss=1.0, force=False,
    ),
    push=Push(hub_repo="", private=True, licence="apache-2.0", licence_name="", data=True, model_registry=""),
    keep=Keep(runs=10, models=2, checkpoint_days=14.0),
    notify=Notify(format="json", ui=""),
    cluster=Cluster(
        gpus=0, gpu_uuid="", node_selector=(), tolerations=(), data_cpu=0.1, data_memory_gib=0.5, train_cpu=0.25,
        train_memory_gib=2.0, memory_limit_gib=0.0, shm_gib=0.25, start_timeout_s=600, data_timeout_s=1800,
        train_timeout_s=3600, retries=2, keep_s=7 * 86_400, cache_claim="grpo-cache",
        checkpoints_claim="grpo-checkpoints", secret="grpo-pipeline", s3_secret="mlpipeline-minio-artifact",
        s3_endpoint="http://minio-service.kubeflow:9000", image_pull_policy="IfNotPresent", image_pull_secret="",
    ),
)  # fmt: skip

# A real model on a laptop without a GPU. Each step was a gain beyond chance with three seeds of three (README). The
# base seldom ends, so a larger limit than the replies of SFT need would only cost time.
SMOLLM2 = replace(
    TINY,
    name="smollm2-135m",
    model="HuggingFaceTB/SmolLM2-135M-Instruct",
    sources=(
        Source(name="traces", path="tiny:text-traces", adapter="prompt-completion", licence="apache-2.0"),
        Source(name="problems", path="tiny:text-problems", adapter="gsm8k", licence="apache-2.0"),
    ),
    evaluation=(Source(name="evaluation", path="tiny:text-evaluation", adapter="gsm8k", licence="apache-2.0"),),
    # Stories of one or two sums share long runs of words with others that have other numbers.
    standardize=replace(TINY.standardize, overlap_words=30),
    sft=replace(
        TINY.sft, learning_rate=3e-4, max_steps=24, batch_size=8, micro_batch_size=8, warmup_steps=3,
        max_tokens=160,
    ),
    grpo=replace(
        TINY.grpo, learning_rate=1e-5, max_steps=40, prompts_per_step=6, generations=6, micro_batch_size=12,
        warmup_steps=2, rollout_batch_size=36,
    ),
    evaluate=replace(TINY.evaluate, protocols=("zero-shot",), batch_size=50, problems=300, gate_problems=100),
    cluster=replace(TINY.cluster, train_cpu=2.0, train_memory_gib=6.0),
)  # fmt: skip

_GSM8K = Source(name="gsm8k", path="openai/gsm8k", adapter="gsm8k", config="main", split="train", licence="mit")

# Evaluation problems that a recipe's `evaluation` may name.
EVALUATIONS = {
    "gsm8k": replace(_GSM8K, name="gsm8k-test", split="test"),
    "math-500": Source(
        name="math-500", path="HuggingFaceH4/MATH-500", adapter="math", answers="math", split="test", licence="mit",
    ),
    "aqua": Source(
        name="aqua", path="deepmind/aqua_rat", adapter="aqua", answers="choice", config="raw", split="test",
        licence="apache-2.0",
    ),
}  # fmt: skip

QWEN = Recipe(
    name="qwen3.5-0.8b",
    model="Qwen/Qwen3.5-0.8B",
    revision="main",
    sources=(
        Source(
            name="grpo-math", path="celestialcreator/Qwen3.5-0.8B-GRPO-Math-Dataset", file="sft_train.jsonl",
            adapter="chat", licence="unknown",
        ),
        Source(
            name="opus-4.5-250x", path="TeichAI/claude-4.5-opus-high-reasoning-250x", adapter="chat", licence="unknown",
        ),
        Source(
            name="opus-4.6-3000x", path="nohurry/Opus-4.6-Reasoning-3000x-filtered", adapter="thinking-solution",
            licence="unknown",
        ),
        _GSM8K,
    ),
    evaluation=(EVALUATIONS["gsm8k"],),
    stages=STAGES,
    form="marker",
    system_prompt="",
    checkers={},
    seed=0,
    data_seed=-1,
    registry="",
    checkpoints="",
    trainer="process",
    always=False,
    lock_timeout_s=86_400,
    sample=Sample(
        problems=0, per_problem=4, backend="transformers", temperature=0.7, max_new_tokens=1024, batch_size=256,
        batch_tokens=524_288, gpu_memory_utilization=0.85, decode_graphs=True,
    ),
    standardize=Standardize(
        max_tokens=4096, plateau_share=0.02, gate_share=0.06, duplicate_similarity=0.8, overlap_words=13, min_kept=0.5
    ),
    sft=Sft(
        learning_rate=1e-5, epochs=1.0, max_steps=0, batch_size=32, micro_batch_size=2, warmup_steps=10,
        schedule="cosine", weight_decay=0.0, max_tokens=4096, gradient_checkpointing=True, lora_rank=0,
    ),
    grpo=Grpo(
        # Below 1 B parameters the published evidence is thin; each choice names what there is.
        # AReaL's GSM8K run on Qwen2.5-1.5B-Instruct (inclusionAI/AReaL, examples/math) has 6e-6 with fp32 master
        # weights; half of it for a model half the size. 1e-6 is what runs with bf16 weights and many updates use.
        learning_rate=3e-6, warmup_steps=25, schedule="cosine", max_steps=500,
        # AReaL found 4 and 8 completions alike (.796, .794); arXiv:2510.00977 keeps 98 % of 16 with 2. Several problems
        # a step, since a group that is all right or all wrong teaches nothing (arXiv:2503.14476).
        prompts_per_step=32, generations=8,
        # Skywork-OR1 (arXiv:2505.22312): leaving out cut-off completions gains nothing, temperature 1 keeps exploring.
        max_new_tokens=1024, mask_truncated=False, temperature=1.0, top_p=1.0,
        # No KL term: DAPO (arXiv:2503.14476), Dr. GRPO (arXiv:2503.20783). DAPO's clip-higher has no effect while a
        # step makes one update, where all ratios are 1; its loss averages over tokens, not over completions.
        beta=0.0, epsilon=0.2, epsilon_high=0.28, loss_type="dapo",
        # The group's mean with the batch's deviation (arXiv:2508.08221): by its own, a group of right answers would
        # turn one missing marker into as large an advantage as a wrong answer. Form is paid little for the same reason.
        scale_rewards="batch", correct_weight=1.0, think_weight=0.1, marker_weight=0.1,
        # Problems that the SFT model always or never solves are dropped, by 8 completions as POLARIS counts them
        # (ChenxinAn-fdu/POLARIS); medium difficulty teaches most (arXiv:2504.03380). Ordering them is not known to
        # help: E2H (arXiv:2506.06632) gains at 1.5 B with a soft order and forgets with a strict one.
        screen_samples=8, curriculum=0.0,
        # What fits 32 GB by lib/training/vram.py; not measured.
        micro_batch_size=16, gradient_checkpointing=True, lora_rank=0,
        rollouts="transformers", vllm_memory_share=0.3, rollout_batch_size=256, decode_graphs=True, sample_steps=25,
        plateau_steps=50, plateau_patience=4, plateau_problems=128,
    ),
    training=Training(
        save_minutes=15.0, keep=2, restarts=3, gpu_memory_gib=31.8, alarm_entropy=0.3, alarm_zero_variance=0.6,
        alarm_truncated=0.1, alarm_kl=0.5, alarm_length=2.0, alarm_format=0.1,
    ),
    scale=Scale(nodes=1, processes=1, sharding="none", runtime="grpo-pipeline", start_timeout_s=1800),
    evaluate=Evaluate(
        protocols=PROTOCOLS, backend="transformers", max_new_tokens=1024, batch_size=256,
        batch_tokens=524_288, gpu_memory_utilization=0.85, decode_graphs=True, problems=0, gate_problems=0,
        gate_protocols=("zero-shot",),
        temperature=0.0, samples=1,
    ),
    compare=Compare(confidence=0.95, bootstrap_samples=10_000, examples=6),
    gate=Gate(
        candidate="last", margin=0.0, alpha=0.05, max_truncated=0.05, min_well_formed=0.8, max_mean_tokens=700.0,
        max_few_shot_loss=0.02, max_source_loss=1.0, force=False,
    ),
    push=Push(hub_repo="", private=True, licence="apache-2.0", licence_name="", data=True, model_registry=""),
    keep=Keep(runs=10, models=2, checkpoint_days=14.0),
    notify=Notify(format="json", ui=""),
    cluster=replace(
        TINY.cluster, gpus=1, tolerations=("nvidia.com/gpu:NoSchedule",), train_cpu=2.0, train_memory_gib=8.0,
        memory_limit_gib=13.0, shm_gib=2.0, start_timeout_s=1800, data_timeout_s=3 * 3600, train_timeout_s=48 * 3600,
    ),
)  # fmt: skip

# The run to beat (Qwen3.5-0.8B, GSM8K 52.1 -> 58.0 % in 77 hours on one RTX 5090) with its own hyperparameters: lr
# 1e-6, beta 0.04, 8 generations, 512 new tokens, 15,900 prompts. Repaired: fp32 master weights, one prompt format
# everywhere, several prompts per step (1,988 x 8 = 15,904), no truncated traces, rewards that cannot be gamed.
REFERENCE = replace(
    QWEN,
    name="reference",
    sample=replace(QWEN.sample, max_new_tokens=512),
    grpo=replace(
        QWEN.grpo, learning_rate=1e-6, warmup_steps=10, schedule="constant", max_steps=1988, prompts_per_step=8,
        max_new_tokens=512, beta=0.04, epsilon_high=0.2, loss_type="grpo", scale_rewards="group", think_weight=0.3,
        marker_weight=0.2, screen_samples=0, plateau_steps=0, plateau_patience=0,
    ),
    evaluate=replace(QWEN.evaluate, max_new_tokens=512),
    gate=replace(QWEN.gate, max_mean_tokens=400.0),
)  # fmt: skip

RECIPES = {recipe.name: recipe for recipe in (TINY, SMOLLM2, QWEN, REFERENCE)}


def is_file(name: str) -> bool:
    """Whether `name` is meant as a file, not as the name of a recipe."""
    return name.lower().endswith((".yaml", ".yml", ".json")) or "/" in name


def flat_fields() -> dict[str, tuple[str, type[Settings], str]]:
    """Every flat name -> (stage or "", settings class, field name), in the order of the recipe."""
    names: dict[str, tuple[str, type[Settings], str]] = {}
    for name, field in Recipe.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Settings):
            for inner in field.annotation.model_fields:
                names[f"{name}_{inner}"] = (name, field.annotation, inner)
        elif name not in ("name", "base", "checkers"):  # which nobody sets
            names[name] = ("", Recipe, name)
    return names


def value(recipe: Recipe, flat_name: str) -> Any:
    """The value of a flat name in a recipe."""
    stage, _, name = flat_fields()[flat_name]
    return getattr(getattr(recipe, stage) if stage else recipe, name)


def with_value(recipe: Recipe, flat_name: str, value: Any) -> Recipe:
    """A copy of `recipe` in which one flat name has another value; `ValueError` if it may not have it."""
    stage, _, name = flat_fields()[flat_name]
    changed: Any = {stage: replace(getattr(recipe, stage), **{name: value})} if stage else {name: value}
    return replace(recipe, **changed)


def override(recipe: Recipe, changes: Mapping[str, str]) -> Recipe:
    """A copy of `recipe` with flat names set from text; `ValueError` names a bad one and the valid ones."""
    fields = flat_fields()
    for flat_name, text in changes.items():
        if flat_name not in fields:
            raise ValueError(f"--set {flat_name}={text}: no such parameter; valid: {near(flat_name, list(fields))}")
        _, cls, name = fields[flat_name]
        try:
            text = _named_in(text) if flat_name == "evaluation" else text
            recipe = with_value(recipe, flat_name, parse(cls, name, text))
        except ValueError as error:
            raise ValueError(f"--set {flat_name}={text}: {error}") from None
    check_recipe(recipe)
    return recipe


def evaluation_named(item: Any) -> Any:
    """The fields of the ready-made evaluation source that `item` names; anything but a name is left as it is.

    `ValueError` for an unknown name.
    """
    if isinstance(item, str) and item not in EVALUATIONS:
        raise ValueError(
            f"{item!r} is no ready-made evaluation source; valid: {', '.join(EVALUATIONS)}, "
            "or the fields of one, as {path: test.jsonl}"
        )
    return plain(EVALUATIONS[item]) if isinstance(item, str) else item


def _named_in(text: str) -> str:
    """The text of `--set evaluation=` as JSON: names between commas, or a JSON list that may hold names."""
    if text.lstrip()[:1] in ("", "{"):
        return text
    try:
        items = json.loads(text) if text.lstrip().startswith("[") else [name.strip() for name in text.split(",")]
    except json.JSONDecodeError:
        return text
    return json.dumps([evaluation_named(item) for item in items])


def differences(one: Recipe, other: Recipe) -> dict[str, tuple[Any, Any]]:
    """Flat name -> the two values, of every field in which two recipes differ."""
    pairs = {name: (value(one, name), value(other, name)) for name in flat_fields()}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def shown(value: Any) -> str:
    """A field's value as `--set` takes it."""
    if isinstance(value, tuple):
        listed = [plain(item) if isinstance(item, Settings) else item for item in value]
        return json.dumps(listed) if any(isinstance(item, dict) for item in listed) else ",".join(map(str, listed))
    if isinstance(value, dict):
        return json.dumps(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def file_schema() -> dict[str, Any]:
    """The JSON schema of a recipe file, for an editor's completion: `base`, and any of the fields."""
    schema = Recipe.model_json_schema()
    del schema["properties"]["checkers"]  # read from the files that `answers` names
    partial = [schema, *(part for name, part in schema["$defs"].items() if name != "Source")]
    for part in partial:
        part.pop("required", None)
    listed = schema["properties"]["evaluation"]
    listed["items"] = {"anyOf": [listed["items"], {"enum": list(EVALUATIONS)}]}
    base = {"type": "string", "description": "the recipe below this one: its name or a file", "examples": list(RECIPES)}
    return schema | {"properties": {"base": base, **schema["properties"]}}


def check_recipe(recipe: Recipe) -> None:
    """Refuse values that do not go together, with a `ValueError` that names them."""
    if not recipe.stages:
        raise ValueError("stages is empty; name at least one of sft, grpo")
    if recipe.stages != tuple(stage for stage in STAGES if stage in recipe.stages):
        raise ValueError(f"stages is {','.join(recipe.stages)}; write each stage once, in this order: sft,grpo")
    _check_answers(recipe)
    check_release(recipe)
    if recipe.grpo.curriculum and not recipe.grpo.screen_samples:
        raise ValueError("grpo_curriculum needs to know how hard the problems are; set grpo_screen_samples, such as 8")
    _check_candidate(recipe)
    if not recipe.evaluate.protocols:
        raise ValueError(f"evaluate_protocols is empty; name at least one of {', '.join(PROTOCOLS)}")
    if "zero-shot" not in recipe.evaluate.gate_protocols:
        raise ValueError("evaluate_gate_protocols has no zero-shot, by which the gate decides; add it")
    if recipe.sample.problems and any(source.label == SAMPLED for source in (*recipe.sources, *recipe.evaluation)):
        raise ValueError(f"a source is called {SAMPLED!r}, as that of sample_problems will be; give it another name")
    for stage in STAGES:
        whole, micro = (getattr(getattr(recipe, stage), name) for name in ("rows_per_step", "micro_batch_size"))
        if whole % recipe.scale.world:
            raise ValueError(
                f"scale_nodes x scale_processes = {recipe.scale.world} processes cannot share the {whole} rows of a "
                f"step of {stage}"
            )
        each = whole // recipe.scale.world
        if each % min(micro, each):
            raise ValueError(
                f"{stage}_micro_batch_size: {each} rows per step and process are not a multiple of {micro}"
            )
    if recipe.scale.nodes > 1 and recipe.trainer != "trainjob":
        raise ValueError(f"scale_nodes is {recipe.scale.nodes}; several nodes need trainer=trainjob")
    if recipe.scale.sharding != "none" and (recipe.sft.lora_rank or recipe.grpo.lora_rank):
        raise ValueError("scale_sharding splits full weights; set it to none, or lora_rank to 0")


def _check_candidate(recipe: Recipe) -> None:
    if recipe.gate.candidate == "last":
        return
    if "grpo" not in recipe.stages:
        raise ValueError("gate_candidate=best chooses among GRPO's weights, and stages has no grpo; set it to last")
    if not recipe.grpo.plateau_steps:
        raise ValueError(
            "gate_candidate=best chooses by the plateau split, and grpo_plateau_steps=0 never measures it; set "
            "grpo_plateau_steps, such as to 10, or gate_candidate=last"
        )


def _check_answers(recipe: Recipe) -> None:
    for source in (*recipe.sources, *recipe.evaluation):
        if source.answers and source.answers not in KINDS and not source.answers.startswith(CHECKER):
            raise ValueError(
                f"source {source.told}: answers {source.answers!r} is no kind of answer; valid: {', '.join(KINDS)}, "
                f"or {CHECKER}FILE.py"
            )
    text, named = recipe.system_prompt, NAMED[recipe.form]
    if text and named not in text:
        raise ValueError(
            f"system_prompt {text[:80]!r} does not say {named}, so no model would give its answer in the form "
            f"{recipe.form}; name it, or set the other form"
        )
    if "{{$." in text:
        raise ValueError("system_prompt holds '{{$.', which KFP takes for a placeholder of its own; write it otherwise")
