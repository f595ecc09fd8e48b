"""The rollouts of GRPO with `transformers`: one batch of all completions of a step, decoded without padding.

TRL would call `generate` with padding, its caches growing row by row; its rollout function is the way in. The vLLM
backend needs none: TRL drives vLLM itself.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from transformers import PreTrainedTokenizerBase

from components.lib.generation import prompts
from components.lib.generation.decode import Decoder, NotFinite, Row, Text, mixed_seed
from components.lib.generation.graph_decode import decoder_for
from components.lib.model.ends import ends_of
from components.lib.model.files import model_directory
from components.lib.training import common
from components.lib.training.checkpoints import TrainingDir
from components.lib.training.job import Job

SIGN_S = 10.0  # between two signs of life


class Policy:
    """The model to decode with, in step with the one that is trained.

    On a GPU that is a copy in bfloat16, which decodes twice as fast as autocast; weights that are split over processes
    are decoded from a whole copy in any case. On a CPU, for LoRA, and beside vLLM, it is the trained model itself.
    """

    def __init__(self, job: Job) -> None:
        self.copy: Any = None
        gpu, split = torch.cuda.is_available(), job.scale.world > 1 and job.scale.sharding != "none"
        if split or (gpu and not job.settings.lora_rank and job.settings.rollouts == "transformers"):
            copied: Any = common.load_model(job.model, job.revision, torch.bfloat16 if gpu else torch.float32)
            self.copy = copied.to("cuda" if gpu else "cpu").eval().requires_grad_(False)

    def device_of(self, trained: Any) -> torch.device:
        """Where it decodes."""
        return trained.device if self.copy is None else self.copy.device

    @contextmanager
    def of(self, trained: Any) -> Iterator[Any]:
        """The policy with the weights that `trained`, the bare model, has now."""
        if self.copy is not None:
            self._follow(trained)
            yield self.copy
            return
        was_training = trained.training
        trained.eval()
        try:
            with torch.autocast(trained.device.type, torch.bfloat16, enabled=trained.device.type == "cuda"):
                yield trained
        finally:
            trained.train(was_training)

    def _follow(self, trained: Any) -> None:
        pairs = zip(self.copy.parameters(), trained.parameters(), strict=True)
        with torch.no_grad():
            for mine, theirs in pairs:
                mine.copy_(whole(theirs.detach()))


def bare(model: Any) -> Any:
    """A model out of the wrapper that synchronises its gradients."""
    return model.module if isinstance(model, DistributedDataParallel) else model


def whole(weights: torch.Tensor) -> torch.Tensor:
    """A tensor that may be split over processes, in one piece; all of them must ask."""
    return weights.full_tensor() if isinstance(weights, DTensor) else weights


class Rollouts:
    """TRL's rollout function: completions for a step's prompts, and greedy ones for the plateau."""

    def __init__(self, job: Job, tokenizer: PreTrainedTokenizerBase) -> None:
        self.job, self.tokenizer, self.settings = job, tokenizer, job.settings
        self.text = Text(tokenizer, set(ends_of(model_directory(job.model, job.revision)).ids))
        self.alive, self.signed = TrainingDir(job.directory).alive, 0.0
        self.policy = Policy(job)
        self.decoders: dict[bool, Decoder] = {}  # greedy or not

    def __call__(self, messages: list[list[prompts.Message]], trainer: Any) -> dict[str, Any]:
        """What TRL asks of a rollout function, for one conversation per completion.

        The draw depends on the step and the process alone, so a resumed run draws as the first one would have.
        """
        ids = encode(self.tokenizer, messages)
        seed = mixed_seed("rollouts", self.job.seed, trainer.state.global_step, trainer.accelerator.process_index)
        model = trainer.accelerator.unwrap_model(trainer.model)
        try:
            written = self.write(model, ids, seed)
        except NotFinite as error:
            raise NotFinite(f"after step {trainer.state.global_step}: {error}; lower learning_rate") from None
        return {"prompt_ids": ids, "completion_ids": written, "logprobs": None}

    def write(self, trained: Any, ids: list[list[int]], seed: int, *, greedy: bool = False) -> list[list[int]]:
        """Completions (token ids, the end token included) of prompts, at most `rollout_batch_size` together."""
        rows = [Row(row, self._ended) for row in ids]
        generator = torch.Generator(self.policy.device_of(trained)).manual_seed(seed)
        with self.policy.of(trained) as model:
            self._decoder(model, greedy).decode(model, rows, generator)
        return [row.written for row in rows]

    def _decoder(self, model: Any, greedy: bool) -> Decoder:
        """The decoder of draws or of greedy completions, which share their buffers."""
        if greedy not in self.decoders:
            limit, together = self.settings.max_new_tokens, self.settings.rollout_batch_size
            drawn = (0.0, 1.0) if greedy else (self.settings.temperature, self.settings.top_p)
            self.decoders[greedy] = decoder_for(
                # a graph would go on with the weights that autocast had cast for it
                model, graphs=self.settings.decode_graphs and self.policy.copy is not None, limit=limit,
                temperature=drawn[0], top_p=drawn[1], together=together, like=self.decoders.get(not greedy),
            )  # fmt: skip
        return self.decoders[greedy]

    def _ended(self, ids: Sequence[int]) -> str:
        """`Text.ended`, asked after every token; a sign of life now and then, since a batch may take hours on a CPU."""
        if time.monotonic() - self.signed > SIGN_S:
            self.signed = time.monotonic()
            self.alive.touch()
        return self.text.ended(ids)


def encode(tokenizer: PreTrainedTokenizerBase, conversations: list[list[prompts.Message]]) -> list[list[int]]:
    """Token ids of the prompts, as SFT and evaluation render them; equal neighbours are rendered once."""
    found: list[list[int]] = []
    for number, messages in enumerate(conversations):
        if number and messages == conversations[number - 1]:
            found.append(found[-1])
        else:
            found.append(tokenizer(prompts.render(tokenizer, messages), add_special_tokens=False)["input_ids"])
    return found
