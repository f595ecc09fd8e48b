"""The check, before the first step, that the engine of the rollouts has the trainer's weights and follows them.

An engine whose weights do not follow trains on the answers of an older policy; one that computes something else
makes every ratio wrong. Both show in the log-probabilities of the tokens that it drew.
"""

from typing import Any, Protocol

import torch
from transformers import TrainerCallback

# Nats a token, in the mean over the tokens: bfloat16 engines differ by about 0.01 from bfloat16 autocast.
TOLERANCE = 0.1
MOVE = 0.5  # nats a token by which the trial update must move the tokens, or it would not show that it arrived
PROMPTS = 8

Drawn = tuple[list[list[int]], list[list[float]]]  # completions and the log-probabilities of their tokens


class Engine(Protocol):
    """What writes rollouts apart from the trained model."""

    def generate(self, prompts: list[list[int]]) -> Drawn:
        """One completion for each prompt."""
        ...

    def sync(self) -> None:
        """Take over the trainer's weights."""
        ...


class VllmEngine:
    """TRL's vLLM, in the trainer's own process."""

    def __init__(self, trainer: Any) -> None:
        self.generation = trainer.vllm_generation

    def generate(self, prompts: list[list[int]]) -> Drawn:
        """One completion for each prompt; a log-probability that vLLM could not give is NaN."""
        _, completions, logprobs, _ = self.generation.generate(prompts=prompts, images=None, num_generations=1)
        return completions, [[float("nan") if lp[0] is None else lp[0] for lp in row] for row in logprobs]

    def sync(self) -> None:
        """Load the trainer's weights into vLLM."""
        self.generation.sync_weights()


class AgreementCheck(TrainerCallback):
    """Runs `check_agreement` when the trainer is ready, before its first step."""

    def __init__(self, trainer: Any, prompts: list[list[int]]) -> None:
        self.trainer, self.prompts = trainer, prompts[:PROMPTS]

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Check, and say what was found."""
        print(check_agreement(self.trainer, VllmEngine(self.trainer), self.prompts), flush=True)


def check_agreement(trainer: Any, engine: Engine, prompts: list[list[int]]) -> str:
    """Generate, train once on a trial, sync, generate again, and compare log-probabilities each time.

    The weights are then put back and synced. Returns a sentence with the differences in nats a token;
    `RuntimeError` if one is above TOLERANCE.
    """
    model = trainer.accelerator.unwrap_model(trainer.model)
    engine.sync()
    first = engine.generate(prompts)
    before = _apart(trainer, prompts, first)
    _refuse(before, "before any update")
    kept = {name: p.detach().to("cpu", copy=True) for name, p in model.named_parameters() if p.requires_grad}
    try:
        _trial_update(trainer, model, prompts, first[0])
        engine.sync()
        after = _apart(trainer, prompts, engine.generate(prompts))
        _refuse(after, "after an update and a sync: the weights do not arrive")
    finally:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name in kept:
                    parameter.copy_(kept[name])
        model.zero_grad(set_to_none=True)
        engine.sync()
    return f"rollouts agree with the trainer: {before:.3g} nats a token before and {after:.3g} after an update"


def logprobs_of(trainer: Any, prompts: list[list[int]], completions: list[list[int]]) -> list[torch.Tensor]:
    """The trainer's log-probabilities of the tokens of each completion, each alone so that nothing is padded."""
    found = []
    for prompt, completion in zip(prompts, completions, strict=True):
        ids = torch.tensor([[*prompt, *completion]], device=trainer.model.device)
        logps, _, _ = trainer._get_per_token_logps_and_entropies(
            trainer.model, ids, torch.ones_like(ids), len(completion)
        )
        found.append(logps[0])
    return found


def _apart(trainer: Any, prompts: list[list[int]], drawn: Drawn) -> float:
    """The mean difference over all tokens."""
    completions, logprobs = drawn
    with torch.no_grad():
        ours = torch.cat(logprobs_of(trainer, prompts, completions)).float().cpu()
    theirs = torch.tensor([value for row in logprobs for value in row])
    return (ours - theirs).abs().mean().item()


def _trial_update(trainer: Any, model: Any, prompts: list[list[int]], completions: list[list[int]]) -> None:
    """Walk against the gradient of the completions' likelihood until their tokens have moved by MOVE."""
    start = None
    for _ in range(20):
        likelihood = torch.cat(logprobs_of(trainer, prompts, completions)).mean()
        start = likelihood.item() if start is None else start
        if start - likelihood.item() >= MOVE:
            return
        model.zero_grad(set_to_none=True)
        likelihood.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.grad is not None:
                    # A relative step: a twentieth of the weights' own size along their gradient.
                    scale = 0.05 * parameter.norm() / parameter.grad.norm().clamp_min(1e-12)
                    parameter.sub_(scale * parameter.grad)
    raise RuntimeError(
        "the trial update moved nothing, so the rollouts' sync cannot be checked; set grpo_rollouts=transformers"
    )


def _refuse(apart: float, when: str) -> None:
    if not apart <= TOLERANCE:
        raise RuntimeError(
            f"the rollouts' log-probabilities differ from the trainer's by {apart:.3g} nats a token (at most "
            f"{TOLERANCE:g}) {when}; set grpo_rollouts=transformers"
        )
