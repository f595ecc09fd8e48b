"""How the completions of a step are dealt to forward passes, so that no pass computes what teaches nothing.

TRL shuffles them and pads each to the longest of all. Here rows whose advantage is zero are left out where the loss
allows it, rows of one prompt stay together (their prompt is then read once), and every pass is cut to its own longest
prompt and completion. The gradient is the same up to rounding; only the order of the sums differs.
"""

import itertools
from importlib.metadata import version
from typing import Any

import torch

Batch = dict[str, Any]
# What TRL puts into a batch, by its dimensions: (rows, prompt tokens), (rows, completion tokens), (rows,), none.
OF_PROMPTS = ("prompt_ids", "prompt_mask")
OF_COMPLETIONS = (
    "completion_ids", "completion_mask", "old_per_token_logps", "ref_per_token_logps", "sampling_per_token_logps",
    "importance_sampling_ratio", "tool_mask",
)  # fmt: skip
OF_ROWS = ("advantages",)
OF_THE_STEP = ("num_items_in_batch",)
MOST = 2.0  # times that a drawn token may count, as in TRL's "token_truncate"


def micro_batches(batch: Batch, count: int, *, together: bool, drop: bool) -> list[Batch]:
    """`count` batches out of a generation batch (a dict of tensors whose first dimension is the completions).

    `together` keeps the rows of a prompt in one pass if they fit, else rows go by length alone. `drop` leaves out rows
    without advantage, but for those that an otherwise empty batch needs; the batches then differ in size.
    """
    lengths = batch["completion_mask"].sum(dim=1).tolist()
    rows = list(range(len(lengths)))
    if drop:
        silent = [i for i in rows if batch["advantages"][i] == 0]
        speaking = [i for i in rows if batch["advantages"][i] != 0]
        rows = speaking + silent[: max(0, count - len(speaking))]
    order = _by_prompt(batch, rows, lengths) if together else sorted(rows, key=lambda i: -lengths[i])
    return [trimmed(batch, part) for part in _parts(order, count)]


def trimmed(batch: Batch, rows: list[int]) -> Batch:
    """Some rows of a batch, without the columns in which all of them are padding; `ValueError` for a tensor unknown."""
    prompt = batch["prompt_mask"][rows].any(dim=0)
    completion = batch["completion_mask"][rows].any(dim=0)
    completion[0] = True  # where all are masked, a column is left for the loss to be zero on
    return {name: _cut(name, part, rows, prompt, completion) for name, part in batch.items()}


def weights_of(ours: torch.Tensor, drawn: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """How much more likely the trained model finds each token than the engine that drew it, at most MOST.

    All (rows, completion tokens), the first two log-probabilities. A token counts once where `mask` is 0, and where the
    engine gave no number. Truncated importance sampling, as TRL has it.
    """
    return ((ours - drawn) * mask).nan_to_num(nan=0.0).exp().clamp(max=MOST)


def _cut(name: str, part: Any, rows: list[int], prompt: torch.Tensor, completion: torch.Tensor) -> Any:
    if name in OF_THE_STEP:
        return part
    if name in OF_ROWS or (name in OF_COMPLETIONS and part.shape[1] == 1):  # one ratio for a whole completion
        return part[rows]
    if name in OF_PROMPTS or name in OF_COMPLETIONS:
        return part[rows][:, prompt if name in OF_PROMPTS else completion]
    raise ValueError(
        f"the batch of trl {version('trl')} holds {name!r}, of which components/grpo/batches.py does not know what its "
        "dimensions are; name it there, or use the pinned version of trl and a model without images"
    )


def _by_prompt(batch: Batch, rows: list[int], lengths: list[int]) -> list[int]:
    """The rows with those of one prompt side by side, prompts with the longest completions first."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for i in rows:
        groups.setdefault(tuple(batch["prompt_ids"][i].tolist()), []).append(i)
    ordered = sorted(groups.values(), key=lambda group: -max(lengths[i] for i in group))
    return [i for group in ordered for i in group]


def _parts(order: list[int], count: int) -> list[list[int]]:
    """The list in `count` parts as equal as can be."""
    size, larger = divmod(len(order), count)
    starts = [k * size + min(k, larger) for k in range(count + 1)]
    return [order[a:b] for a, b in itertools.pairwise(starts)]
