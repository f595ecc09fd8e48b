"""How much memory a training will take, of a GPU or of a machine without one, and what to change when it is too much.

Sums bytes from the shapes in a model's config.json: weights in fp32 with AdamW's two moments and the gradient, the
bf16 copies that autocast and the rollouts hold on a GPU, what one forward pass saves for the backward one, the tile of
the LM head (TRL never has all logits), and, while rollouts are written, their KV cache and DeltaNet states. No torch.

The bytes saved per token and layer are fitted. GPU: to what autograd saves on a CPU under bf16 autocast (benchmarks/
vram.py), those of DeltaNet estimated for flash-linear-attention's kernels, which save less than the torch path; no peak
of a training on a GPU was measured yet, and one of decoding, which the estimate meets within a tenth. CPU: to what
autograd saves in fp32 on the torch path, and held against the peak resident memory of trainings 256 to 768 wide: within
a factor of 1.25 (tests/lib/training/test_vram.py); GRPO with few rows in a forward pass takes less, up to a third.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from components.lib.recipe.schema import Grpo, Scale, Sft
from components.lib.recipe.settings import replace

GIB = 2**30
FP32, BF16 = 4, 2
PROMPT_TOKENS = 256  # of a GSM8K prompt, with room
TILE = (4096, 32768)  # tokens and vocabulary of one piece of the LM head in TRL's kernel
CHUNK = 64  # tokens between the states that a DeltaNet kernel keeps for the backward pass


@dataclass(frozen=True, kw_only=True)
class Device:
    """What differs between trainings on a GPU and on a CPU."""

    memory: str  # its name
    usable: float  # share of it that a process can have
    context_gib: float  # of libraries, kernels, and what the allocator cannot use
    small_gib: float  # a training that takes no more beside the context is never refused
    number: int  # bytes of a number in caches
    copies: bool  # whether there are weights in bf16 beside those in fp32
    tile: int  # bytes of a number of the LM head's tile, with those that are made of it
    # Bytes saved per token: for each unit of hidden size, MLP size, query width, key and value width, and of DeltaNet's
    # key width, value width and state.
    norms: float
    mlp: float
    query: float
    key_value: float
    linear_key: float
    linear_value: float
    linear_state: float


GPU = Device(
    memory="GPU memory", usable=0.97, context_gib=1.2, small_gib=0.0, number=BF16, copies=True, tile=BF16,
    norms=28, mlp=10, query=12, key_value=16, linear_key=20, linear_value=10, linear_state=BF16 / CHUNK,
)  # fmt: skip
CPU = Device(
    memory="memory", usable=1.0, context_gib=0.6, small_gib=0.5, number=FP32, copies=False, tile=8 * FP32,
    norms=24, mlp=16, query=20, key_value=12, linear_key=24, linear_value=112, linear_state=0.0,
)  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """What of a model decides its memory; widths in numbers."""

    hidden: int
    mlp: int
    vocabulary: int
    tied: bool
    attention_layers: int
    linear_layers: int
    query: int  # heads x head size
    key_value: int  # heads x head size
    gated: bool  # whether the query projection also makes a gate
    linear_key: int
    linear_value: int
    linear_state: int  # numbers in the recurrent state of one layer and sequence

    @property
    def linears(self) -> list[tuple[int, int, int]]:
        """(layers, in, out) of every linear map in the layers."""
        everywhere = self.attention_layers + self.linear_layers
        return [
            (everywhere, self.hidden, 2 * self.mlp), (everywhere, self.mlp, self.hidden),
            (self.attention_layers, self.hidden, self.query * (2 if self.gated else 1)),
            (self.attention_layers, self.hidden, 2 * self.key_value), (self.attention_layers, self.query, self.hidden),
            (self.linear_layers, self.hidden, 2 * self.linear_key + 2 * self.linear_value),
            (self.linear_layers, self.linear_value, self.hidden),
        ]  # fmt: skip

    @property
    def parameters(self) -> int:
        """Weights in numbers, norms and other small ones left out."""
        embedding = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return embedding + sum(count * rows * columns for count, rows, columns in self.linears)

    def adapter(self, rank: int) -> int:
        """Weights of a LoRA adapter on all linear maps."""
        return rank * sum(count * (rows + columns) for count, rows, columns in self.linears)


def shape_of(config: Mapping[str, Any]) -> Shape | None:
    """The shape in a config.json, that of the text model where there are several; None if it has other names."""
    text = config.get("text_config", config)
    try:
        heads, layers, hidden = text["num_attention_heads"], text["num_hidden_layers"], text["hidden_size"]
        head = text.get("head_dim") or hidden // heads
        kinds = text.get("layer_types") or ["full_attention"] * layers
        linear = sum(kind == "linear_attention" for kind in kinds)
        key_size, value_size = text.get("linear_key_head_dim", 0), text.get("linear_value_head_dim", 0)
        value_heads = text.get("linear_num_value_heads", 0)
        return Shape(
            hidden=hidden, mlp=text["intermediate_size"], vocabulary=text["vocab_size"],
            tied=bool(text.get("tie_word_embeddings", config.get("tie_word_embeddings", True))),
            attention_layers=layers - linear, linear_layers=linear, query=heads * head,
            key_value=text.get("num_key_value_heads", heads) * head, gated=linear > 0,
            linear_key=text.get("linear_num_key_heads", 0) * key_size, linear_value=value_heads * value_size,
            linear_state=value_heads * key_size * value_size,
        )  # fmt: skip
    except KeyError:
        return None


def estimate(shape: Shape, settings: Sft | Grpo, scale: Scale, device: Device = GPU) -> dict[str, float]:
    """Bytes by what they are for, of each process of `scale`.

    `while training` and `while writing rollouts` do not happen together; `total` counts the larger.
    """
    processes = scale.world
    # FSDP splits gradient and optimizer, and with `full` the weights.
    split, weights_split = (processes if scale.sharding in kinds else 1 for kinds in (("optimizer", "full"), ("full",)))
    trained = shape.adapter(settings.lora_rank) if settings.lora_rank else shape.parameters
    tokens, everything = _tokens(settings, scale), shape.parameters
    parts = {
        "weights": (FP32 * everything + (FP32 * trained if settings.lora_rank else 0)) / weights_split,
        "gradient": FP32 * trained / split,
        "optimizer": 2 * FP32 * trained / split,
        "weights in bf16": BF16 * everything / weights_split if device.copies else 0,
        "context": device.context_gib * GIB,
    }
    if processes > 1 and split == 1:
        parts["gradient buckets"] = FP32 * trained
    writing = 0.0
    if isinstance(settings, Grpo):
        parts["reference model"] = FP32 * everything if settings.beta and not settings.lora_rank else 0
        if settings.rollouts == "transformers":
            parts["rollout copy"] = BF16 * everything if device.copies and not settings.lora_rank else 0
            writing = _writing(shape, settings, processes, device)
    training = _saved(shape, tokens, settings.gradient_checkpointing, device) + _head(shape, tokens, device)
    total = sum(parts.values()) + max(training, writing)
    return parts | {"while training": training, "while writing rollouts": writing, "total": total}


def check(
    config: Mapping[str, Any], stage: str, settings: Sft | Grpo, gib: float, scale: Scale, device: Device = GPU
) -> str:
    """A sentence on what the training will take; `ValueError` with the knobs that help if the memory is too small.

    `gib` is that of one GPU, or what the processes of a machine without one can have together.
    """
    shape = shape_of(config)
    if shape is None:
        return f"{stage}: the {device.memory} is not estimated, since the model's config.json has unusual names"
    gib = gib if device is GPU else gib / scale.processes
    usable = device.usable * gib
    if isinstance(settings, Grpo) and settings.rollouts == "vllm":
        usable -= settings.vllm_memory_share * gib
    parts = estimate(shape, settings, scale, device)
    needed = parts["total"] / GIB
    if needed <= max(usable, device.context_gib + device.small_gib):
        return f"{stage}: about {needed:.1f} of {usable:.1f} GiB of {device.memory} are needed"
    listed = ", ".join(f"{name} {size / GIB:.1f}" for name, size in parts.items() if size and name != "total")
    raise ValueError(
        f"{stage} needs about {needed:.1f} GiB of {device.memory} and can have {usable:.1f} of {gib:.1f} ({listed}); "
        f"{_fix(shape, stage, settings, usable, scale, device)}"
    )


def _fix(shape: Shape, stage: str, settings: Sft | Grpo, usable: float, scale: Scale, device: Device) -> str:
    """The single changes that would make it fit, the gentlest first; all of them together if none does alone."""
    fitting = [
        text
        for text, changed in _changes(settings, scale)
        if estimate(shape, changed, scale, device)["total"] <= usable * GIB
    ]
    if fitting:
        return "one of these would fit: " + ", ".join(f"{stage}_{text}" for text in fitting)
    if device is CPU:
        return (
            f"no single change of {stage}_* makes it fit: end other programs, take a smaller model or a machine with "
            f"more memory, or {stage}_lora_rank=32 with gradient checkpointing"
        )
    return (
        f"no single change of {stage}_* makes it fit: take a smaller model, a larger GPU (preflight knows it by "
        "training_gpu_memory_gib), more of them with "
        f"scale_sharding=full, or {stage}_lora_rank=32"
    )


def _changes(settings: Sft | Grpo, scale: Scale) -> Iterator[tuple[str, Any]]:
    """(name=value, settings with it), the gentlest first."""
    rows = settings.rows_per_step // scale.world
    for n in range(min(settings.micro_batch_size, rows) - 1, 0, -1):
        if rows % n:
            continue
        yield f"micro_batch_size={n}", replace(settings, micro_batch_size=n)
    if isinstance(settings, Grpo):
        for n in (settings.rollout_batch_size // 2, settings.rollout_batch_size // 4):
            if n and settings.rollouts == "transformers":
                yield f"rollout_batch_size={n}", replace(settings, rollout_batch_size=n)
        if settings.beta:
            yield "beta=0", replace(settings, beta=0.0)
        yield (
            f"max_new_tokens={settings.max_new_tokens // 2}",
            replace(settings, max_new_tokens=settings.max_new_tokens // 2),
        )
    if not settings.gradient_checkpointing:
        yield "gradient_checkpointing=true", replace(settings, gradient_checkpointing=True)
    if not settings.lora_rank:
        yield "lora_rank=32", replace(settings, lora_rank=32)


def _tokens(settings: Sft | Grpo, scale: Scale) -> int:
    """Tokens of the largest forward pass; a prompt of several rows is read once, where grpo/trainer.py can."""
    rows = min(settings.micro_batch_size, settings.rows_per_step // scale.world)
    if isinstance(settings, Sft):
        return rows * settings.max_tokens
    shared = scale.sharding == "none"
    prompts = -(-rows // settings.generations) if shared else rows
    return rows * settings.max_new_tokens + prompts * PROMPT_TOKENS


def _saved(shape: Shape, tokens: int, checkpointing: bool, device: Device) -> float:
    """Bytes that a forward pass keeps for the backward pass."""
    both = device.norms * shape.hidden + device.mlp * shape.mlp
    attention = both + device.query * shape.query + device.key_value * shape.key_value
    linear = both + device.linear_key * shape.linear_key + device.linear_value * shape.linear_value
    linear += device.linear_state * shape.linear_state
    if checkpointing:  # the input of every layer, and all of the one that is being done again
        layers = shape.attention_layers + shape.linear_layers
        return tokens * (layers * FP32 * shape.hidden + max(attention, linear if shape.linear_layers else 0))
    return tokens * (shape.attention_layers * attention + shape.linear_layers * linear)


def _head(shape: Shape, tokens: int, device: Device) -> float:
    """Bytes of the LM head's tile, of the hidden states' gradient, and of its weight's gradient before it is added."""
    tile = device.tile * min(tokens, TILE[0]) * min(shape.vocabulary, TILE[1])
    return tile + FP32 * tokens * shape.hidden + FP32 * shape.vocabulary * shape.hidden


def _writing(shape: Shape, settings: Grpo, processes: int, device: Device) -> float:
    """Bytes of the caches and logits of the completions that are written together."""
    rows = min(settings.rollout_batch_size, settings.rows_per_step // processes)
    context = PROMPT_TOKENS + settings.max_new_tokens
    cache: float = device.number * 2 * shape.key_value * shape.attention_layers * context
    state = FP32 * shape.linear_state * shape.linear_layers
    if settings.decode_graphs and device is GPU:  # the prompts are read beside the buffers of all rows, each once
        cache = (cache + state) * (1 + 1 / settings.generations) + FP32 * shape.linear_state
    else:  # on a GPU the new states lie beside the old ones
        cache += state * (2 if device is GPU else 1)
    copied = device.number * 2 * shape.key_value * context  # one layer's cache is copied when it grows
    return rows * (cache + copied + 3 * FP32 * shape.vocabulary)
