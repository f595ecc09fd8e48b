"""TRL's GRPO trainer, made to compute less for the same gradient, and under guard."""

from functools import cached_property
from typing import Any

import torch
from trl import GRPOConfig, GRPOTrainer

from components.grpo.batches import Batch, micro_batches, weights_of
from components.lib.training.sharing import can_share, read_once
from components.lib.training.survive import Guarded

FEW_LOGITS = 1 << 24  # below so many, TRL's fused LM head costs more than it saves

Scores = tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]


class GrpoTrainer(Guarded, GRPOTrainer):
    """GRPOTrainer whose passes share prompts and pad little; see components/grpo/batches.py.

    A prompt that several rows of a pass share is read once where that can be (lib/training/sharing.py).
    """

    args: GRPOConfig
    used = 0.0  # share of the completions in the passes of this step
    scores: Scores | None = None  # of the pass whose loss is computed, where they are known before it

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.waiting: list[Batch] = []  # the passes that this step has still to make
        self.dealt: Batch = {}  # the one that it makes

    @cached_property
    def shares_prompts(self) -> bool:
        """Whether the rows of a prompt can share its reading."""
        return can_share(self)

    def batch_of(self, inputs: Any) -> dict[str, Any]:
        """The completions of the last forward pass with their advantages."""
        return self.dealt

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """TRL's log, with the share of the completions that the step's passes were made of."""
        super().log({**logs, "used": self.used} if "loss" in logs else logs, start_time)

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        """The next micro-batch; completions are made when a step begins, as in TRL, and dealt in our order.

        `ValueError` for an evaluation and for num_iterations above 1, which would use a step's completions again.
        """
        if self.num_iterations != 1 or not self.model.training:  # type: ignore[union-attr]
            raise ValueError(
                f"completions are dealt to one training step: num_iterations must be 1, not {self.num_iterations}, and "
                "TRL's evaluation be off"
            )
        if not self.waiting:
            batch = self._generate_and_score_completions(generation_batch)
            # Only this loss divides by the tokens of the whole step, so that rows may be left out; several processes
            # gather row by row, for which all need equally many.
            drop = self.loss_type == "dapo" and not self.beta and self.accelerator.num_processes == 1
            passes = self.args.gradient_accumulation_steps
            self.waiting = micro_batches(batch, passes, together=self.shares_prompts, drop=drop)
            self.used = sum(len(part["advantages"]) for part in self.waiting) / len(batch["advantages"])
        self.dealt = self.waiting.pop(0)
        return self.dealt

    def _compute_loss(self, model: Any, inputs: Batch) -> torch.Tensor:
        """TRL's loss; tokens that vLLM drew count by how much more likely the pass itself finds them.

        TRL's own correction reads all completions once more for that, padded to the longest. With one update a step
        the old log-probabilities are those of the pass whose loss is computed. Each loss of a recipe is linear in the
        advantages, so these may be weighed instead of the loss.
        """
        if "sampling_per_token_logps" not in inputs:
            return super()._compute_loss(model, inputs)
        parts = ((inputs[f"prompt_{kind}"], inputs[f"completion_{kind}"]) for kind in ("ids", "mask"))
        ids, seen = (torch.cat(part, dim=1) for part in parts)
        drawn, mask = inputs["sampling_per_token_logps"], inputs["completion_mask"]
        scores = self._get_per_token_logps_and_entropies(
            model, ids, seen, mask.shape[1], compute_entropy=True, compute_aux_loss=self.aux_loss_enabled
        )
        ours = scores[0].detach()
        self._tell_apart((ours - drawn).abs()[mask.bool()])
        weighed = inputs["advantages"][:, None] * weights_of(ours, drawn, mask)
        self.scores = scores
        try:
            return super()._compute_loss(model, {**inputs, "advantages": weighed})
        finally:
            self.scores = None

    def _tell_apart(self, apart: torch.Tensor) -> None:
        """Log by TRL's names how far vLLM's log-probabilities are from ours, in nats a token; NaN counts nowhere."""
        apart = apart[~apart.isnan()]
        apart = apart if apart.numel() else torch.zeros(1, device=apart.device)
        for name, value in (("mean", apart.mean()), ("max", apart.max())):
            gathered = getattr(self.accelerator.gather(value), name)()
            self._metrics["train"][f"sampling/sampling_logp_difference/{name}"].append(gathered.item())

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, logits_to_keep: int,
        batch_size: int | None = None, compute_entropy: bool = False, **others: Any,
    ) -> Scores:  # fmt: skip
        """TRL's log-probabilities and entropies (rows, completion tokens), each distinct prompt read once."""
        if self.scores is not None:
            return self.scores
        prompts = input_ids.shape[1] - logits_to_keep
        distinct, rows = torch.unique(input_ids[:, :prompts], dim=0, return_inverse=True)
        if not self.shares_prompts or len(distinct) == len(input_ids) or prompts < 2 or batch_size is not None:
            return super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy, **others
            )
        first = torch.stack([(rows == number).nonzero()[0, 0] for number in range(len(distinct))])
        read = read_once(self, model, distinct[:, :-1], attention_mask[first, : prompts - 1], rows)
        completions = input_ids[:, prompts:]
        inputs = {"input_ids": input_ids[:, prompts - 1 : -1], "attention_mask": attention_mask[:, :-1], **read}
        vocabulary = self.accelerator.unwrap_model(model).config.get_text_config().vocab_size
        with self.accelerator.autocast():
            if completions.numel() * vocabulary < FEW_LOGITS:
                return self._from_logits(model(**inputs).logits, completions, compute_entropy)
            labels = completions.masked_fill(attention_mask[:, prompts:] == 0, -100)
            output = model(**inputs, shift_labels=labels, fused_lm_head=True)
        return output.log_probs, output.entropy if compute_entropy else None, None

    def _from_logits(self, logits: torch.Tensor, tokens: torch.Tensor, compute_entropy: bool) -> Scores:
        """The same from logits (rows, tokens, vocabulary), which is faster while they are few."""
        shares = (logits.float() / self.temperature).log_softmax(dim=-1)
        entropy = -(shares.detach().exp() * shares.detach()).sum(dim=-1) if compute_entropy else None
        return shares.gather(-1, tokens[..., None]).squeeze(-1), entropy, None
