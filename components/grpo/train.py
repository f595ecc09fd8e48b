"""GRPO: sample a group of completions per problem, reward each, and move towards those above their group's mean.

Group-relative policy optimization is from DeepSeekMath (https://arxiv.org/abs/2402.03300); TRL does the work.
"""

import os
from collections.abc import Mapping
from functools import partial
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl import GRPOConfig
from trl.generation import vllm_generation

from components.grpo import agreement, screen
from components.grpo.agreement import AgreementCheck
from components.grpo.alarms import Alarms
from components.grpo.plateau import Plateau
from components.grpo.rollouts import Rollouts, encode
from components.grpo.scorer import RATES, Scorer
from components.grpo.trainer import GrpoTrainer
from components.lib.answers import checker
from components.lib.files import read_jsonl
from components.lib.generation import prompts
from components.lib.generation.backends import VLLM_STATES
from components.lib.generation.context import check_prompts, cut_replies
from components.lib.model.files import model_directory
from components.lib.recipe.schema import Grpo
from components.lib.training import common, watch
from components.lib.training.checkpoints import TrainingDir
from components.lib.training.handed_on import handed_on
from components.lib.training.job import Job
from components.lib.training.survive import Saver

# The trainer's log names and the curve's.
COLUMNS = {
    "loss": "loss", "reward": "reward", "reward_std": "reward_std", "kl": "kl", "entropy": "entropy",
    "completions/mean_length": "completion_length", "completions/clipped_ratio": "clipped_ratio",
    "clip_ratio/region_mean": "clip_ratio", "grad_norm": "grad_norm",
    "learning_rate": "learning_rate", "used": "used", "sampling/sampling_logp_difference/mean": "sampling_difference",
    **{name: name for name in RATES},
}  # fmt: skip
SHOWN = ("reward", "correct", "completion_length", "rollouts_per_s", "tokens_per_s")


def train(job: Job) -> dict[str, float]:
    """Improve the job's model on its data/problems.jsonl; leaves the curves, and the model in `preparing`.

    With `plateau_steps` the weights that did best on data/plateau.jsonl are handed on, else the last ones. Returns the
    numbers to log. `ValueError` if there is no problem or the batch sizes do not divide.
    """
    settings, directory = job.settings, TrainingDir(job.directory)
    common.check_memory(job)
    tokenizer = common.load_tokenizer(job.model, job.revision)
    checker.install(job.data)
    problems = list(read_jsonl(job.data / "problems.jsonl"))
    if not problems:
        raise ValueError(f"{job.data / 'problems.jsonl'} holds no problem; look at the rejects of standardize")
    _check_context(job, tokenizer, problems)
    rates = screen.solve_rates(directory.path) if settings.screen_samples else {}
    kept = screen.worth_training(problems, rates, settings) if rates else problems
    recorder = watch.Recorder(directory.curves, COLUMNS, SHOWN, partial(written, settings.rows_per_step))
    model = common.load_model(job.model, job.revision)
    rollouts = Rollouts(job, tokenizer)
    scorer = Scorer(rollouts.text, settings, kept, directory.curves / "samples.jsonl")
    plateau = Plateau(job, tokenizer, rollouts)
    print(f"grpo: {len(kept)} of {len(problems)} problems, {settings.max_steps} steps", flush=True)
    dataset = one_pass(kept, rates, settings, job.seed, tokenizer)
    with common.old_names():
        trainer = make_trainer(job, model, tokenizer, scorer, rollouts, dataset)
        common.check_device(trainer, job)
        if settings.rollouts == "vllm":
            trainer.add_callback(AgreementCheck(trainer, encode(tokenizer, dataset[: agreement.PROMPTS]["prompt"])))
        trainer.add_callback(recorder)
        trainer.add_callback(plateau)
        trainer.add_callback(Alarms(recorder, job.training))
        common.run(trainer, Saver(directory, job.training), job.resume)
    common.save_model(trainer, tokenizer, directory.preparing / "model", plateau.weights())
    if common.is_first() and (told := handed_on(directory.curves)):
        print(told, flush=True)
    numbers = _numbers(recorder, plateau, trainer.state.global_step)
    return numbers | {"problems": len(kept), "problems_dropped": len(problems) - len(kept)} | checker.counts()


def written(rollouts: int, row: Mapping[str, float]) -> dict[str, float]:
    """What a step has written, by the row of its curves: completions, and their tokens."""
    return {"rollouts": rollouts, "tokens": round(rollouts * row["completion_length"])}


def _check_context(job: Job, tokenizer: PreTrainedTokenizerBase, problems: list[dict[str, Any]]) -> None:
    """Refuse prompts, those of the plateau too, that leave no room for a completion."""
    plateau = read_jsonl(job.data / "plateau.jsonl") if job.settings.plateau_steps else ()
    asked = {
        prompts.render(tokenizer, prompts.asking(row)): f"problem {row.get('id', '')}" for row in (*problems, *plateau)
    }
    limit = job.settings.max_new_tokens
    check_prompts(model_directory(job.model, job.revision), asked, limit, "grpo_max_new_tokens")
    for line in cut_replies(job.data, {"grpo_max_new_tokens": limit}):
        print(f"grpo: warning: {line}", flush=True)


def make_trainer(
    job: Job, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, scorer: Scorer, rollouts: Rollouts,
    dataset: Dataset,
) -> GrpoTrainer:  # fmt: skip
    """TRL's trainer, with our rollouts unless vLLM makes them."""
    rollout_func: Any = rollouts if job.settings.rollouts == "transformers" else None
    if rollout_func is None and hasattr(vllm_generation, "LLM"):  # TRL has no option for it
        vllm_generation.LLM = partial(vllm_generation.LLM, **VLLM_STATES)
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"  # its rollout function is an experimental feature
    trainer = GrpoTrainer(
        model=model, reward_funcs=scorer.functions, args=grpo_config(job, rollouts, model), train_dataset=dataset,
        processing_class=tokenizer, peft_config=common.lora(job.settings.lora_rank),
        rollout_func=rollout_func,
    )  # fmt: skip
    trainer.directory = TrainingDir(job.directory)
    assert set(trainer.eos_token_ids) == rollouts.text.end
    return trainer


def one_pass(
    problems: list[dict[str, Any]], rates: screen.Rates, settings: Grpo, seed: int, tokenizer: PreTrainedTokenizerBase
) -> Dataset:
    """The prompts of the whole run in the order of their use; see `common.one_pass`."""
    needed = settings.max_steps * settings.prompts_per_step
    if settings.curriculum:
        arrange = partial(screen.easier_first, problems, rates, settings.curriculum)
        order = common.one_pass(len(problems), needed, f"grpo {seed}", arrange)
    else:
        order = common.one_pass(len(problems), needed, f"grpo {seed}")
    rows = [
        {"prompt": prompts.fitted(tokenizer, prompts.asking(row)), "problem": place}
        for place, row in enumerate(problems)
    ]
    return Dataset.from_list(rows).select(order)


def grpo_config(job: Job, rollouts: Rollouts, model: PreTrainedModel) -> GRPOConfig:
    """TRL's configuration for our settings; one step generates and trains on all its completions at once."""
    settings = job.settings
    micro_batch, passes = common.split_batch(settings.rows_per_step, settings.micro_batch_size, job.scale.world)
    return GRPOConfig(
        output_dir=str(TrainingDir(job.directory).writing), max_steps=settings.max_steps, shuffle_dataset=False,
        **common.schedule_arguments(settings),
        per_device_train_batch_size=micro_batch, gradient_accumulation_steps=passes, steps_per_generation=passes,
        num_generations=settings.generations, max_completion_length=settings.max_new_tokens,
        temperature=settings.temperature, top_p=settings.top_p, top_k=0,
        chat_template_kwargs=dict(prompts.TEMPLATE_ARGUMENTS),
        beta=settings.beta, epsilon=settings.epsilon, epsilon_high=settings.epsilon_high,
        loss_type=settings.loss_type, scale_rewards=settings.scale_rewards,
        reward_weights=[settings.correct_weight, settings.think_weight, settings.marker_weight],
        mask_truncated_completions=settings.mask_truncated, seed=job.seed, data_seed=job.seed,
        **_rollout_arguments(job, rollouts), **common.device_arguments(),
        **common.distributed_arguments(job.scale, model),
        **watch.reporting_arguments(TrainingDir(job.directory)),
        **common.memory_arguments(settings.gradient_checkpointing),
    )  # fmt: skip


def _rollout_arguments(job: Job, rollouts: Rollouts) -> dict[str, Any]:
    """What TRL must know to drive vLLM in this process; nobody has run it on Qwen3.5 yet, hence `AgreementCheck`."""
    settings = job.settings
    if settings.rollouts == "transformers":
        return {}
    problems = read_jsonl(job.data / "problems.jsonl")
    prompts_ = encode(rollouts.tokenizer, [prompts.asking(row) for row in problems])
    return {
        "use_vllm": True, "vllm_mode": "colocate", "vllm_model_impl": "vllm", "vllm_tensor_parallel_size": 1,
        "vllm_gpu_memory_utilization": settings.vllm_memory_share,
        # Without it vLLM reserves for the model's whole context of 262,144 tokens.
        "vllm_max_model_length": max(map(len, prompts_)) + settings.max_new_tokens,
        # Sleeping would free vLLM's share while training, and cost a full reload of the weights at every step.
        "vllm_enable_sleep_mode": False,
        "vllm_importance_sampling_correction": False,  # grpo/trainer.py has its own, which needs no pass of its own
        "generation_kwargs": {"stop_token_ids": sorted(rollouts.text.end)},
    }  # fmt: skip


def _numbers(recorder: watch.Recorder, plateau: Plateau, steps: int) -> dict[str, float]:
    numbers = {
        "steps": steps, "train_seconds": recorder.seconds,
        "reward_first": recorder.mean("reward", last=False), "reward_last": recorder.mean("reward", last=True),
        "correct_first": recorder.mean("correct", last=False), "correct_last": recorder.mean("correct", last=True),
        "truncated_last": recorder.mean("truncated", last=True), "entropy_last": recorder.mean("entropy", last=True),
        "zero_variance_last": recorder.mean("zero_variance", last=True),
    }  # fmt: skip
    if plateau.best is not None:
        numbers |= {"plateau_accuracy": plateau.best["accuracy"], "plateau_step": plateau.best["step"]}
    return numbers
