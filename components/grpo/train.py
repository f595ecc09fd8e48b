"""GRPO: sample a group of completions per problem, reward each, and move towards those above their group's mean.

Group-relative policy optimization is from DeepSeekMath (https://arxiv.org/abs/2402.03300); TRL does the work.
"""

from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl import GRPOConfig, GRPOTrainer

from components import prompts, training
from components.files import read_jsonl
from components.grpo.plateau import Plateau
from components.grpo.scorer import RATES, Scorer
from components.schema import Grpo

# The trainer's log names and the curve's.
COLUMNS = {
    "loss": "loss", "reward": "reward", "reward_std": "reward_std", "kl": "kl", "entropy": "entropy",
    "completions/mean_length": "completion_length", "completions/clipped_ratio": "clipped_ratio",
    "frac_reward_zero_std": "zero_variance", **{name: name for name in RATES},
}  # fmt: skip
SHOWN = ("reward", "correct", "completion_length")


def train_grpo(
    *, model: str, revision: str, data: Path, model_out: Path, curves_out: Path, checkpoints: Path | None, seed: int,
    settings: Grpo,
) -> dict[str, float]:  # fmt: skip
    """Improve `model` on `data`/problems.jsonl and write a model directory, curves and sample completions.

    `model` is a directory, `tiny` or a Hub id at `revision`. With `settings.plateau_steps` the weights that did best
    on `data`/plateau.jsonl are kept, else the last ones. Returns the numbers to log. `ValueError` if there is no
    problem or the batch sizes do not divide.
    """
    tokenizer = training.load_tokenizer(model, revision)
    problems = list(read_jsonl(data / "problems.jsonl"))
    if not problems:
        raise ValueError(f"{data / 'problems.jsonl'} holds no problem; look at the rejects of standardize")
    recorder = training.Recorder(curves_out, COLUMNS, SHOWN)
    scorer = Scorer(tokenizer, settings, problems[0]["question"], curves_out / "samples.jsonl")
    plateau = Plateau(tokenizer, settings, data / "plateau.jsonl", curves_out / "plateau.jsonl")
    print(f"grpo: {len(problems)} problems, {settings.max_steps} steps", flush=True)
    with TemporaryDirectory() as scratch, training.old_names():
        config = grpo_config(settings, seed, checkpoints or Path(scratch))
        dataset = one_pass(problems, settings, seed)
        trainer = make_trainer(training.load_model(model, revision), tokenizer, scorer, dataset, config, settings)
        trainer.add_callback(plateau)
        training.train(trainer, recorder)
    plateau.restore(trainer.model)
    training.save_model(trainer.model, tokenizer, model_out)
    return _numbers(recorder, plateau, len(problems), trainer.state.global_step)


def make_trainer(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, scorer: Scorer, dataset: Dataset, config: GRPOConfig,
    settings: Grpo,
) -> GRPOTrainer:  # fmt: skip
    """TRL's trainer; it renders the prompts itself, to the tokens of `prompts.render`."""
    trainer = GRPOTrainer(
        model=model, reward_funcs=scorer.functions, args=config, train_dataset=dataset, processing_class=tokenizer,
        peft_config=training.lora(settings.lora_rank),
    )  # fmt: skip
    scorer.end_ids = trainer.eos_token_ids
    return trainer


def one_pass(problems: list[dict[str, Any]], settings: Grpo, seed: int) -> Dataset:
    """The prompts of the whole run in the order of their use: one pass, so that it can be resumed exactly.

    Every problem is used once before any is used again; each round has its own order.
    """
    needed, order = settings.max_steps * settings.prompts_per_step, list[dict[str, Any]]()
    for round_ in range(-(-needed // len(problems))):
        order += Random(f"grpo {seed} {round_}").sample(problems, len(problems))
    return Dataset.from_list(
        [
            {"prompt": prompts.question_messages(row["question"]), "question": row["question"], "gold": row["gold"]}
            for row in order[:needed]
        ]
    )


def grpo_config(settings: Grpo, seed: int, output: Path) -> GRPOConfig:
    """TRL's configuration for our settings; one step generates and trains on all its completions at once."""
    micro_batch, passes = training.split_batch(
        settings.prompts_per_step * settings.generations, settings.micro_batch_size
    )
    return GRPOConfig(
        output_dir=str(output), max_steps=settings.max_steps, learning_rate=settings.learning_rate,
        warmup_steps=settings.warmup_steps, lr_scheduler_type=settings.schedule, shuffle_dataset=False,
        per_device_train_batch_size=micro_batch, gradient_accumulation_steps=passes, steps_per_generation=passes,
        num_generations=settings.generations, max_completion_length=settings.max_new_tokens,
        temperature=settings.temperature, top_p=settings.top_p, top_k=0,
        chat_template_kwargs=dict(prompts.TEMPLATE_ARGUMENTS),
        beta=settings.beta, epsilon=settings.epsilon, epsilon_high=settings.epsilon_high,
        loss_type=settings.loss_type, scale_rewards=settings.scale_rewards,
        reward_weights=[settings.correct_weight, settings.think_weight, settings.marker_weight],
        mask_truncated_completions=settings.mask_truncated,
        seed=seed, data_seed=seed, **_rollouts(settings), **training.device_arguments(), **training.quiet_arguments(),
        **training.memory_arguments(settings.gradient_checkpointing),
    )  # fmt: skip


def _rollouts(settings: Grpo) -> dict[str, Any]:
    if settings.rollouts == "transformers":
        return {}
    return {"use_vllm": True, "vllm_mode": "colocate", "vllm_gpu_memory_utilization": 0.3}


def _numbers(recorder: training.Recorder, plateau: Plateau, problems: int, steps: int) -> dict[str, float]:
    numbers = {
        "problems": problems, "steps": steps, "train_seconds": recorder.rows[-1]["seconds"],
        "reward_first": recorder.mean("reward", last=False), "reward_last": recorder.mean("reward", last=True),
        "correct_first": recorder.mean("correct", last=False), "correct_last": recorder.mean("correct", last=True),
        "truncated_last": recorder.mean("truncated", last=True), "entropy_last": recorder.mean("entropy", last=True),
        "zero_variance_last": recorder.mean("zero_variance", last=True),
    }  # fmt: skip
    if plateau.best_step is not None:
        numbers |= {"plateau_accuracy": plateau.best, "plateau_step": plateau.best_step}
    return numbers
