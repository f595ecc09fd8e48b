"""TRL's GRPO trainer, made to compute less for the same gradient, and under guard."""

from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import LinearAttentionLayer
from trl import GRPOConfig, GRPOTrainer

from components.grpo.batches import micro_batches
from components.lib.training.survive import Guarded

FEW_LOGITS = 1 << 24  # below so many, TRL's fused LM head costs more than it saves

Scores = tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]


class GrpoTrainer(Guarded, GRPOTrainer):
    """GRPOTrainer whose passes share prompts and pad little; see components/grpo/batches.py.

    A prompt that several rows of a pass share is read once, and its gradient flows back through the cache. That needs
    the cache, which gradient checkpointing does not have, and bare modules, which FSDP does not have.
    """

    args: GRPOConfig

    @property
    def shares_prompts(self) -> bool:
        """Whether the rows of a prompt can share its reading."""
        return not self.args.activation_checkpointing and not self.is_fsdp_enabled

    def batch_of(self, inputs: Any) -> dict[str, Any]:
        """The completions of the last forward pass with their advantages."""
        assert self._buffered_inputs is not None
        return self._buffered_inputs[(self._step - 1) % self.args.steps_per_generation]

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        """The next micro-batch; completions are made when a step begins, as in TRL, and dealt in our order."""
        passes = self.args.steps_per_generation
        assert passes is not None
        if self._step % passes == 0 or self._buffered_inputs is None:
            batch = self._generate_and_score_completions(generation_batch)
            # Only this loss divides by the tokens of the whole step, so that rows may be left out; several processes
            # gather row by row, for which all need equally many.
            drop = self.loss_type == "dapo" and not self.beta and self.accelerator.num_processes == 1
            parts = micro_batches(batch, passes, together=self.shares_prompts, drop=drop)
            used = sum(len(part["advantages"]) for part in parts) / len(batch["advantages"])
            self._metrics["train"]["used"].append(used)
            self._buffered_inputs = parts  # type: ignore[assignment]
        assert self._buffered_inputs is not None
        return self._buffered_inputs[self._step % passes]

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, logits_to_keep: int,
        batch_size: int | None = None, compute_entropy: bool = False, **others: Any,
    ) -> Scores:  # fmt: skip
        """TRL's log-probabilities and entropies (rows, completion tokens), each distinct prompt read once."""
        prompts = input_ids.shape[1] - logits_to_keep
        distinct, places = torch.unique(input_ids[:, :prompts], dim=0, return_inverse=True)
        if not self.shares_prompts or len(distinct) == len(input_ids) or prompts < 2 or batch_size is not None:
            return super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy, **others
            )
        first = torch.stack([(places == number).nonzero()[0, 0] for number in range(len(distinct))])
        bare: Any = self.accelerator.unwrap_model(model)
        completions = input_ids[:, prompts:]
        with self.accelerator.autocast():
            cache = trainable_cache(bare.config)
            bare(
                input_ids=distinct[:, :-1], attention_mask=attention_mask[first, : prompts - 1],
                past_key_values=cache, use_cache=True, logits_to_keep=1,
            )  # fmt: skip
            cache.reorder_cache(places)
            inputs = {
                "input_ids": input_ids[:, prompts - 1 : -1], "attention_mask": attention_mask[:, :-1],
                "past_key_values": cache,
            }  # fmt: skip
            if completions.numel() * bare.config.get_text_config().vocab_size < FEW_LOGITS:
                return self._from_logits(model(**inputs, use_cache=True).logits, completions, compute_entropy)
            labels = completions.masked_fill(attention_mask[:, prompts:] == 0, -100)
            output = model(**inputs, shift_labels=labels, fused_lm_head=True)
        return output.log_probs, output.entropy if compute_entropy else None, None

    def _from_logits(self, logits: torch.Tensor, tokens: torch.Tensor, compute_entropy: bool) -> Scores:
        """The same from logits (rows, tokens, vocabulary), which is faster while they are few."""
        shares = (logits.float() / self.temperature).log_softmax(dim=-1)
        entropy = -(shares.detach().exp() * shares.detach()).sum(dim=-1) if compute_entropy else None
        return shares.gather(-1, tokens[..., None]).squeeze(-1), entropy, None


def trainable_cache(config: Any) -> DynamicCache:
    """A cache through which gradients flow back to the prompt: states are replaced, never changed in place."""
    cache = DynamicCache(config=config)
    cache.layers = [
        _Replacing(layer.number_of_states) if isinstance(layer, LinearAttentionLayer) else layer
        for layer in cache.layers
    ]
    return cache


class _Replacing(LinearAttentionLayer):
    """transformers' layer copies new states into the old tensors, which autograd still needs."""

    def update_conv_state(
        self, conv_states: torch.Tensor, state_idx: int = 0, conv_kernel_size: int | None = None, **_: Any
    ) -> torch.Tensor:
        """Remember the last inputs of the convolution; returns them in front of the new ones."""
        before = self.conv_states[state_idx]
        if before is None:
            self.device = conv_states.device  # type: ignore[assignment]
            self.is_conv_states_initialized[state_idx] = self.has_previous_state[state_idx] = True
            size = conv_kernel_size or conv_states.shape[-1]
            whole = torch.nn.functional.pad(conv_states, (max(0, size - conv_states.shape[-1]), 0))
        else:
            size, whole = before.shape[-1], torch.cat([before, conv_states], dim=-1)
        self.conv_states[state_idx] = whole[..., -size:]
        return whole

    def update_recurrent_state(self, recurrent_states: torch.Tensor, state_idx: int = 0, **_: Any) -> torch.Tensor:
        """Remember the state."""
        self.is_recurrent_states_initialized[state_idx] = True
        self.recurrent_states[state_idx] = recurrent_states
        return recurrent_states
