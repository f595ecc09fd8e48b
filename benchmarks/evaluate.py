"""How fast evaluation is: against `generate` of transformers one at a time, and lm-eval's hf backend, on one model.

Run `OMP_NUM_THREADS=1 python benchmarks/evaluate.py --output benchmarks/evaluate.md` in an environment that has
lm-eval 0.4.13 besides, which this project's own lacks. All three ways decode the same
prompts greedily to the same limit and their texts are compared; seconds are process time, so that other work on the
machine does not count, and the model is loaded before the clock starts.
"""

import argparse
import itertools
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from components.lib.files import write_text
from components.lib.generation import backends, prompts
from components.lib.generation.decode import Asked
from components.lib.model.files import model_directory
from components.lib.recipe import recipes
from components.lib.tiny.problems import rows

PROTOCOLS = {"zero-shot": 0, "8-shot": 8}


def main() -> None:
    """Measure, print the table in Markdown, and write it if asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="tiny", help="model directory, Hub id or tiny")
    parser.add_argument("--problems", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=recipes.TINY.evaluate.batch_size)
    parser.add_argument("--output", type=Path, help="Markdown file to write")
    asked = parser.parse_args()
    directory = model_directory(asked.model, "main")
    text = report(directory, asked.problems, asked.batch_size)
    print(text)
    if asked.output:
        write_text(asked.output, text)


def report(directory: Path, problems: int, batch_size: int) -> str:
    """The table, with what it was measured on."""
    ours = backend(directory, batch_size)
    theirs = lm_eval_model(directory, batch_size)
    lines = [
        "# Evaluation speed",
        "",
        f"{problems} problems, greedy, at most {ours.sampling.max_new_tokens} new tokens, batches of {batch_size}, "
        f"{os.environ.get('OMP_NUM_THREADS', 'all')} thread(s), {machine()}.",
        "Ratios are to `model.generate` of transformers on one prompt at a time, and to lm-eval's hf backend with the "
        "same batch size.",
        "",
        "| prompts | one at a time, s | lm-eval hf, s | this project, s | x one at a time | x lm-eval | same texts |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for protocol, shots in PROTOCOLS.items():
        texts = rendered(ours, problems, shots)
        by_one, slow = timed(partial(one_by_one, ours, texts))
        by_lm_eval, other = timed(partial(theirs, texts))
        by_batch, fast = timed(partial(ours_texts, ours, texts))
        same = f"{agree(by_batch, by_one)} / {agree(by_batch, by_lm_eval)}"
        lines.append(
            f"| {protocol} | {slow:.2f} | {other:.2f} | {fast:.2f} | {slow / fast:.1f} | {other / fast:.1f} | {same} |"
        )
    lines += ["", "Same texts: how many completions equal those made one at a time, and those of lm-eval.", ""]
    return "\n".join(lines)


def backend(directory: Path, batch_size: int) -> backends.TransformersBackend:
    """The backend of this project with the tiny recipe's limits."""
    settings = recipes.TINY.evaluate
    return backends.TransformersBackend(
        directory,
        backends.Sampling(
            max_new_tokens=settings.max_new_tokens,
            temperature=0.0,
            batch_size=batch_size,
            batch_tokens=settings.batch_tokens,
            gpu_memory_utilization=settings.gpu_memory_utilization,
        ),
    )


def lm_eval_model(directory: Path, batch_size: int) -> Callable[[Sequence[str]], list[str]]:
    """lm-eval's hf backend as a function from prompts to completions."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    warnings.simplefilter("ignore")  # lm-eval warns of what transformers has renamed
    model = HFLM(pretrained=str(directory), batch_size=batch_size, device=device(), dtype="float32")
    limit = recipes.TINY.evaluate.max_new_tokens
    stop = {"until": ["<|im_end|>"], "max_gen_toks": limit, "do_sample": False, "temperature": 0.0}

    def complete(texts: Sequence[str]) -> list[str]:
        asked = [Instance("generate_until", {}, (text, dict(stop)), k) for k, text in enumerate(texts)]
        return model.generate_until(asked, disable_tqdm=True)

    return complete


def ours_texts(model: backends.TransformersBackend, texts: Sequence[str]) -> list[str]:
    """Completions in the order of the prompts."""
    found = dict(
        itertools.chain.from_iterable(model.batches(texts, [Asked.of(text, {}) for text in texts], [0] * len(texts)))
    )
    return [found[k].text for k in range(len(texts))]


def one_by_one(model: backends.TransformersBackend, texts: Sequence[str]) -> list[str]:
    """Completions by `generate` of transformers, one prompt at a time."""
    found = []
    for text in texts:
        ids = model.tokenizer(text, add_special_tokens=False, return_tensors="pt").to(model.device)
        whole = model.model.generate(**ids, max_new_tokens=model.sampling.max_new_tokens, do_sample=False)
        found.append(model.text.decode(whole[0, ids["input_ids"].shape[1] :].tolist()))
    return found


def rendered(model: backends.TransformersBackend, count: int, shots: int) -> list[str]:
    """Prompts of generated problems, with `shots` exemplars each."""
    solved = [(row["question"], row["answer"]) for row in itertools.islice(rows("problems", 0), shots)]
    questions = [row["question"] for row in itertools.islice(rows("evaluation", 0), count)]
    return [prompts.render(model.tokenizer, prompts.asking({"question": question}, solved)) for question in questions]


def timed(work: Callable[[], list[str]]) -> tuple[list[str], float]:
    """What `work` returns, and its process time in seconds; on a GPU it is the time on the clock."""
    clock = time.perf_counter if device() == "cuda" else time.process_time
    started = clock()
    return work(), clock() - started


def agree(ours: Sequence[str], others: Sequence[str]) -> int:
    """How many completions are equal but for white space at their ends."""
    return sum(a.strip() == b.strip() for a, b in zip(ours, others, strict=True))


def device() -> str:
    """The device that the backend uses."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def machine() -> str:
    """What this runs on, in words."""
    import torch

    if device() == "cuda":
        return torch.cuda.get_device_name()
    model = next((x for x in Path("/proc/cpuinfo").read_text("utf-8").split("\n") if x.startswith("model name")), "")
    return f"{model.partition(':')[2].strip() or platform.machine()}, torch {torch.__version__}"


if __name__ == "__main__":
    main()
