"""Ask a model every evaluation and gate problem and write down what it said.

The model is loaded once for all splits and protocols. Finished completions are kept until the whole step is done, so
that a killed one goes on where it stopped.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from components.evaluate import protocols
from components.lib.answers import checker
from components.lib.answers.judging import Item, verdicts
from components.lib.answers.kinds import answers_of, form_of
from components.lib.files import code_sha256, read_jsonl, sha256, write_json, write_jsonl
from components.lib.generation import prompts
from components.lib.generation.context import cut_replies
from components.lib.generation.loading import load_tokenizer
from components.lib.generation.partial import Partial, kept
from components.lib.generation.requests import Request, complete, request_key, text_sha256
from components.lib.model.files import model_directory, model_sha256
from components.lib.recipe import schema
from components.lib.recipe.settings import plain
from components.lib.reporting import measures

CHECKPOINTS = ("base", "sft", "grpo", "champion")
SETTING = "evaluate_max_new_tokens"
CONFIDENCE = 0.95  # of the intervals in summary.json; the report has a level of its own


def evaluate(
    *, model: str, revision: str, checkpoint: str, data: Path, out: Path, checkpoints: Path | None, seed: int,
    settings: schema.Evaluate, data_seed: int | None = None, after: Callable[[], dict[str, float]] = dict,
) -> dict[str, float]:  # fmt: skip
    """Evaluate a model on `data`/evaluation.jsonl and `data`/gate.jsonl, each under its protocols.

    Writes `out`/items.jsonl, one row per completion in the order of the files, and `out`/summary.json. Completions lie
    below `checkpoints` (see `partial.kept`) until all is written and `after`, what else the step has to do, is done.
    Returns numbers like "zero-shot/accuracy" and "gate/zero-shot/accuracy", and those of `after`. `ValueError` for an
    unknown checkpoint, for several samples without temperature, for missing problems, and if there are exemplars for no
    protocol.
    """
    _check(checkpoint, settings)
    checker.install(data)
    directory = model_directory(model, revision)
    fingerprint = model_sha256(directory)
    tokenizer = load_tokenizer(directory)
    for line in cut_replies(data, {SETTING: settings.max_new_tokens}):
        print(f"evaluate {checkpoint}: warning: {line}", flush=True)
    requests, left_out = plan_requests(tokenizer, fingerprint, data, seed, settings, data_seed)
    with kept("evaluate", [checkpoint, *(request.key for request in requests)], out, checkpoints) as partial:
        complete(requests, directory, partial, seed, settings, f"evaluate {checkpoint}", SETTING)
        sampling = sampling_text(seed, settings)
        items = [_item(checkpoint, sampling, request, partial.rows[request.key]) for request in requests]
        groups = [
            _summary(split, protocol, items, requests, partial)
            for split, protocol in dict.fromkeys((request.split, request.protocol) for request in requests)
        ]
        summary = {
            "checkpoint": checkpoint, "model": model, "revision": revision, "model_sha256": fingerprint,
            "template_sha256": text_sha256(str(tokenizer.chat_template)), "seed": seed, "settings": plain(settings),
            "instruction": "system turn" if prompts.knows_system(tokenizer) else "user turn",
            "left_out": left_out, "results": groups,
        }  # fmt: skip
        write_jsonl(out / "items.jsonl", items)
        write_json(out / "summary.json", summary)
        return _numbers(groups) | checker.counts() | after()


def decisive(
    *, model: str, revision: str, checkpoint: str, data: Path, seed: int, settings: schema.Evaluate, data_seed: int
) -> dict[str, Any]:
    """All that decides what an evaluation finds, as JSON values: greedy answers know no seed but the exemplars'."""
    return {
        "checkpoint": checkpoint, "model": model_sha256(model_directory(model, revision)), "settings": plain(settings),
        "seeds": [data_seed, seed if settings.temperature else 0], "code": code_sha256(),
        "data": {path.name: sha256(path) for path in sorted(data.glob("*.jsonl"))},
    }  # fmt: skip


def plan_requests(
    tokenizer: Any, fingerprint: str, data: Path, seed: int, settings: schema.Evaluate, data_seed: int | None = None
) -> tuple[list[Request], list[str]]:
    """Every completion to be made, evaluation split first, then protocol, problem and sample; and what is left out.

    That is a sentence for each split, protocol and kind of answers for which there are not enough exemplars, which
    `data_seed` chooses, or `seed` where it is None.
    """
    files = {"evaluation": settings.problems, "gate": settings.gate_problems}
    chosen = {split: choose(data / f"{split}.jsonl", limit) for split, limit in files.items()}
    # Every row of both files is kept out of the exemplars, also those that are not asked today.
    asked = [row["question"] for split in files for row in read_jsonl(data / f"{split}.jsonl")]
    plan = [("evaluation", protocol) for protocol in dict.fromkeys(settings.protocols)]
    plan += [("gate", protocol) for protocol in dict.fromkeys(settings.gate_protocols)]
    requests, left_out = [], []
    choosing = seed if data_seed is None else data_seed
    for split, protocol in plan:
        shots, missing = _exemplars(split, protocol, chosen[split], data, asked, choosing)
        left_out += missing
        for row in (row for row in chosen[split] if answers_of(row) in shots):
            prompt = prompts.render(tokenizer, prompts.asking(row, shots[answers_of(row)]))
            for sample in range(settings.samples):
                key = request_key(fingerprint, prompt, sample, seed, settings)
                requests.append(Request(split, protocol, row, sample, prompt, key))
    if settings.protocols and not any(request.split == "evaluation" for request in requests):
        raise ValueError(f"nothing is left to ask: {'; '.join(left_out)}; add zero-shot to evaluate_protocols")
    return requests, left_out


def _exemplars(
    split: str, protocol: str, rows: Sequence[dict[str, Any]], data: Path, asked: Sequence[str], seed: int
) -> tuple[dict[str, list[protocols.Exemplar]], list[str]]:
    """The exemplars for each kind of answers in `rows` that has enough; and a sentence, also printed, for others."""
    shots, left_out = {}, []
    for kind in dict.fromkeys(map(answers_of, rows)):
        try:
            shots[kind] = protocols.exemplars(protocol, kind, data, asked, seed)
        except protocols.TooFew as error:
            names = dict.fromkeys(row.get("source", "") for row in rows if answers_of(row) == kind)
            left_out.append(f"{protocol} is left out for {', '.join(names)} ({split}): {error}")
            print(f"evaluate: {left_out[-1]}", flush=True)
    return shots, left_out


def choose(path: Path, limit: int) -> list[dict[str, Any]]:
    """At most `limit` rows of a problem file (0: all), in its order; chosen by content hash, so the same each week."""
    rows = list(read_jsonl(path))
    if not rows:
        raise ValueError(f"{path} has no rows; give the pipeline problems to evaluate")
    if limit == 0 or limit >= len(rows):
        return rows
    chosen = set(sorted(range(len(rows)), key=lambda i: (rows[i]["hash"], i))[:limit])
    return [row for i, row in enumerate(rows) if i in chosen]


def _check(checkpoint: str, settings: schema.Evaluate) -> None:
    if checkpoint not in CHECKPOINTS:
        raise ValueError(f"checkpoint {checkpoint!r} is not one of {', '.join(CHECKPOINTS)}")
    if settings.samples > 1 and settings.temperature == 0:
        raise ValueError(
            f"evaluate_samples={settings.samples} at temperature 0 gives the same completion each time; "
            "set evaluate_temperature above 0 or evaluate_samples=1"
        )


def sampling_text(seed: int, settings: schema.Evaluate) -> str:
    """How completions are drawn, in words; those of two models can be compared if it is the same."""
    drawn = f"temperature {settings.temperature:g} and seed {seed}" if settings.temperature else "greedy"
    return f"{settings.backend}, at most {settings.max_new_tokens} tokens, {drawn}"


def _item(checkpoint: str, sampling: str, request: Request, made: dict[str, Any]) -> Item:
    """The row of items.jsonl of a completion in partial.jsonl."""
    row, prefilled, reason = request.row, prompts.prefilled(request.prompt), made["finish_reason"]
    return {
        "checkpoint": checkpoint, "split": request.split, "protocol": request.protocol, "id": row["id"],
        "sample": request.sample, "prompt_sha256": text_sha256(request.prompt), "question": row["question"],
        "gold": row["gold"], "source": row.get("source", ""), "answers": answers_of(row), "form": form_of(row),
        "options": row.get("options", []),
        "checker": row.get("checker", ""),
        "completion": made["text"], "prefilled": prefilled, "tokens": made["tokens"],
        "finish_reason": reason, "stopped_at_answer": made["stopped_at_answer"], "sampling": sampling,
        **verdicts(made["text"], row, prefilled=prefilled, finish_reason=reason),
    }  # fmt: skip


def _summary(
    split: str, protocol: str, items: Sequence[Item], requests: Sequence[Request], partial: Partial
) -> dict[str, Any]:
    """The numbers of one split and protocol; `seconds` are the shares of the batches its completions ran in."""
    pairs = zip(items, requests, strict=True)
    group = [(i, r) for i, r in pairs if (i["split"], i["protocol"]) == (split, protocol)]
    chosen = [item for item, _ in group]
    seconds = sum(partial.rows[request.key]["seconds"] for _, request in group)
    return {
        "split": split,
        "protocol": protocol,
        **measures.accuracy(chosen, CONFIDENCE),
        **measures.rates(chosen),
        **measures.sampled(chosen),
        **_by_source(chosen),
        "seconds": seconds,
        "tokens_per_s": sum(item["tokens"] for item in chosen) / seconds,
    }


def _by_source(items: Sequence[Item]) -> dict[str, Any]:
    """The accuracy on each source by itself and their mean, where there are several."""
    groups = measures.by_source(items)
    found = {name: measures.accuracy(group, CONFIDENCE) for name, group in groups.items()}
    return {"macro": measures.macro(items), "sources": found} if groups else {}


def _numbers(groups: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Flat numbers under names that stay the same from week to week."""
    found: dict[str, float] = {}
    for group in groups:
        prefix = group["protocol"] if group["split"] == "evaluation" else f"{group['split']}/{group['protocol']}"
        low, high = group["interval"]
        found |= {f"{prefix}/accuracy_low": low, f"{prefix}/accuracy_high": high}
        found |= {f"{prefix}/{name}": float(value) for name, value in group.items() if isinstance(value, int | float)}
    return found
