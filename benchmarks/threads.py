"""How many threads torch should have on a CPU: one training step and some decoding, with one thread and with all.

Run `python benchmarks/threads.py --output benchmarks/threads.md` on a machine that does nothing else. Each figure is
the wall time of a process of its own; `busy` has as many processes beside it as there are CPUs, which only count.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from components.lib.files import write_text
from components.lib.machine import SMALL_BYTES

# Hidden size -> layers.
SHAPES = {96: 4, 320: 8, 512: 8}
ROWS, TOKENS, DECODED, REPEATS = 4, 48, 8, 2
VOCABULARY = 8_192


def main() -> None:
    """Measure, print the table in Markdown, and write it if asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, help="Markdown file to write")
    parser.add_argument("--measure", type=int, metavar="HIDDEN", help="measure one shape in this process, and print it")
    asked = parser.parse_args()
    if asked.measure:
        print(json.dumps(measured(asked.measure)))
        return
    text = report()
    print(text)
    if asked.output:
        write_text(asked.output, text)


def report() -> str:
    """The table, with what it was measured on."""
    cores = len(os.sched_getaffinity(0))
    lines = [
        "# Threads", "",
        f"One training step of {ROWS} rows of {TOKENS} tokens, and {DECODED} tokens decoded for {ROWS} rows, with "
        f"random weights: seconds with one thread, and how many times longer it takes with {cores}. `pipeline.py run` "
        f"takes one thread below {SMALL_BYTES >> 20} MiB of weights, and above that one for each CPU that is idle when "
        f"it starts. {machine()}. `python benchmarks/threads.py`", "",
        f"| weights, MiB | beside it | training, s | x with {cores} threads | decoding, s | x with {cores} threads |",
        "| ---: | --- | ---: | ---: | ---: | ---: |",
    ]  # fmt: skip
    for hidden in SHAPES:
        for busy in (0, cores):
            others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
            try:
                one, all_ = (in_process(hidden, threads) for threads in (1, cores))
            finally:
                for other in others:
                    other.kill()
                    other.wait()
            lines.append(
                f"| {one['weights'] / 2**20:.0f} | {'busy' if busy else 'idle'} | {one['training']:.3f} | "
                f"{all_['training'] / one['training']:.2f} | {one['decoding']:.3f} | "
                f"{all_['decoding'] / one['decoding']:.2f} |"
            )
    return "\n".join([*lines, ""])


def in_process(hidden: int, threads: int) -> dict[str, float]:
    """What `measured` finds in a process with so many threads."""
    command = [sys.executable, __file__, "--measure", str(hidden)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    return json.loads(
        subprocess.run(command, env=environment, capture_output=True, check=True, encoding="utf-8").stdout
    )


def measured(hidden: int) -> dict[str, float]:
    """Bytes of the weights, and the seconds of the fastest repetition of a training step and of decoding."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    heads = hidden // 32
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY, hidden_size=hidden, intermediate_size=3 * hidden, num_hidden_layers=SHAPES[hidden],
            num_attention_heads=heads, num_key_value_heads=heads, tie_word_embeddings=True,
        )
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters())
    tokens = torch.randint(VOCABULARY, (ROWS, TOKENS))

    def training() -> None:
        model(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    def decoding() -> None:
        model.generate(tokens[:, :32], do_sample=False, min_new_tokens=DECODED, max_new_tokens=DECODED, pad_token_id=0)

    weights = sum(part.numel() * part.element_size() for part in model.parameters())
    return {"weights": weights, "training": fastest(training), "decoding": fastest(decoding)}


def fastest(work) -> float:
    """Seconds of the fastest of some repetitions, after one that is not counted."""
    work()
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def machine() -> str:
    """The processor."""
    import torch

    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown CPU")
    return f"{name}, {len(os.sched_getaffinity(0))} CPUs, torch {torch.__version__}"


if __name__ == "__main__":
    main()
