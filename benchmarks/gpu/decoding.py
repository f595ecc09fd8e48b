"""Weights, decoding by each decoder against the floor by bytes, and the rollouts' bf16 copy against autocast."""

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.child import Place
from benchmarks.gpu.machine import bandwidth, fresh_peak, now, peak
from benchmarks.shapes import qwen_config, save_random
from components.lib.generation.decode import Decoder, Row
from components.lib.generation.graph_decode import GraphDecoder
from components.lib.training import common, vram

TOGETHER = 8  # completions of a prompt
EQUAL = 24  # greedy tokens that are compared


def weights(place: Place) -> Iterator[dict[str, Any]]:
    """Make the model that the other parts read, at random on the device; the dry run takes the embedded one."""
    if not place.gpu:
        yield {"what": "the embedded model", "skipped": "made at its true size on a GPU only"}
        return
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        save_random(Path(place.model), qwen_config())
    yield {"what": "Qwen3.5-0.8B's shape in bf16", "weights": vram_shape(qwen_config()).parameters}


def vram_shape(config: Any) -> vram.Shape:
    """The shape by which memory and bytes are counted."""
    shape = vram.shape_of(config.to_dict())
    assert shape is not None
    return shape


def decoding(place: Place) -> Iterator[dict[str, Any]]:
    """Milliseconds of a step and tokens/s at two numbers of rows, and whether greedy tokens are equal."""
    model = common.load_model(place.model, "main", place.of(torch.bfloat16, torch.float32))
    model = model.to(place.device).eval().requires_grad_(False)  # type: ignore[arg-type]
    speed, tokens = bandwidth(place), place.of(192, 12)
    yield {"what": "copying", "gb_s": round(speed / 1e9, 1)}
    for rows in place.of((256, 64), (8,)):
        prompts = some_prompts(model, rows, tokens)
        floor = 1e3 * step_bytes(model, rows, tokens + place.of(64, 8) // 2) / speed
        yield {
            "what": f"{rows} rows, floor by bytes",
            "ms_step": round(floor, 3),
            "tokens_s": round(rows / floor * 1e3),
        }
        for how, decoder in decoders(place, 1.0).items():
            fresh_peak(place)
            ms = ms_step(place, decoder, model, prompts)
            yield {
                "what": f"{rows} rows, {how}, sampled", "ms_step": round(ms, 3), "tokens_s": round(rows / ms * 1e3),
                "times_floor": round(ms / floor, 1), **peak(place),
            }  # fmt: skip
            decoder.forget()
            gc.collect()
        greedy = {how: write(decoder, model, prompts, EQUAL) for how, decoder in decoders(place, 0.0).items()}
        for how in list(greedy)[1:]:
            for other in list(greedy)[: list(greedy).index(how)]:
                yield {
                    "what": f"{rows} rows, greedy tokens of {how} and {other}",
                    "equal": same(greedy[how], greedy[other]),
                }
    if not place.gpu:
        yield {"what": "graph", "skipped": "a CUDA graph needs a GPU"}


def decoders(place: Place, temperature: float) -> dict[str, Decoder]:
    """Each way of decoding; a graph only where there is a GPU."""
    told: dict[str, Any] = {"limit": EQUAL, "temperature": temperature}
    found: dict[str, Decoder] = {"eager": Decoder(**told), "static step": GraphDecoder(**told, captured=False)}
    return found | ({"graph": GraphDecoder(**told)} if place.gpu else {})


def some_prompts(model: Any, rows: int, tokens: int) -> list[list[int]]:
    """Random prompts of so many tokens, TOGETHER rows of each."""
    vocabulary = model.config.get_text_config().vocab_size
    distinct = torch.randint(10, vocabulary, (rows // TOGETHER, tokens)).tolist()
    return [prompt for prompt in distinct for _ in range(TOGETHER)]


def write(decoder: Decoder, model: Any, prompts: list[list[int]], tokens: int) -> list[list[int]]:
    """Completions of so many tokens, which nothing ends before."""
    decoder.limit = tokens
    rows = [Row(prompt, lambda ids: "") for prompt in prompts]
    together = decoder.together
    decoder.decode(model, rows, torch.Generator(model.device).manual_seed(0))
    if decoder.together != together:
        raise RuntimeError(f"out of memory: {len(rows)} rows do not fit together")
    return [row.written for row in rows]


def ms_step(place: Place, decoder: Decoder, model: Any, prompts: list[list[int]]) -> float:
    """Milliseconds of one step: what a longer completion takes more than a shorter one, with all that belongs to it."""
    short, long = place.of((17, 81), (3, 11))
    write(decoder, model, prompts, long)  # kernels are tuned, buffers made, graphs captured
    seconds = []
    for tokens in (short, long):
        began = now(place)
        write(decoder, model, prompts, tokens)
        seconds.append(now(place) - began)
    return max(1e-6, 1e3 * (seconds[1] - seconds[0]) / (long - short))


def step_bytes(model: Any, rows: int, context: int) -> float:
    """What a step cannot do without: weights and caches are read once, DeltaNet states read and written."""
    shape, number = vram_shape(model.config), model.dtype.itemsize
    state = 2 * vram.FP32 * shape.linear_state * shape.linear_layers
    cache = number * 2 * shape.key_value * shape.attention_layers * context
    return float(number * shape.parameters + rows * (state + cache))


def same(one: list[list[int]], other: list[list[int]]) -> str:
    """How many tokens are equal, of all."""
    pairs = [(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True)]
    return f"{sum(a == b for a, b in pairs)} of {len(pairs)}"


def precision(place: Place) -> Iterator[dict[str, Any]]:
    """Log-probabilities of what the rollouts' bf16 copy draws, against those of the trained weights under autocast."""
    copy = common.load_model(place.model, "main", torch.bfloat16).to(place.device).eval()  # type: ignore[arg-type]
    trained = common.load_model(place.model, "main").to(place.device).eval()  # type: ignore[arg-type]
    prompts, tokens = some_prompts(copy, place.of(32, 8), place.of(192, 12)), place.of(64, 8)
    written = write(Decoder(limit=tokens, temperature=1.0), copy, prompts, tokens)
    pairs = zip(prompts, written, strict=True)
    ids = torch.tensor([[*prompt, *completion] for prompt, completion in pairs], device=place.device)
    found = []
    for model in (copy, trained):
        autocast = torch.autocast(place.device, torch.bfloat16, enabled=model is trained)
        with torch.inference_mode(), autocast:
            logits = model(input_ids=ids[:, :-1], logits_to_keep=tokens).logits.float()
        found.append(logits.log_softmax(-1).gather(-1, ids[:, -tokens:, None]))
    difference = found[1] - found[0]
    yield {
        "what": f"bf16 copy against autocast, {difference.numel()} tokens that the copy drew, nats",
        "mean": round(difference.abs().mean().item(), 5), "max": round(difference.abs().max().item(), 4),
        "k3_kl": float(f"{(difference.exp() - 1 - difference).mean().item():.2g}"),
    }  # fmt: skip
