"""Small trainings for the tests: in this process, or as `python -m components.STAGE` in processes of their own."""

import os
import subprocess
import sys
import time

import torch
from transformers import AutoModelForCausalLM

from components.grpo.train import train as train_grpo
from components.lib.recipe.recipes import TINY
from components.lib.recipe.settings import replace
from components.lib.training.checkpoints import TrainingDir, whole_rows
from components.lib.training.job import Job
from components.sft.train import train as train_sft
from tests import ROOT

SFT = replace(TINY.sft, max_steps=40, batch_size=16, micro_batch_size=8, warmup_steps=1, learning_rate=1e-3)
GRPO = replace(TINY.grpo, max_steps=3, prompts_per_step=2, generations=4, micro_batch_size=4, warmup_steps=1)
WAIT_S = 300
EVERY_STEP = {"training_save_minutes": 0.0}
# What the processes train with.
SMALL = {
    "sft": {"max_steps": 12, "batch_size": 16, "micro_batch_size": 8, "warmup_steps": 1},
    "grpo": {
        "max_steps": 12, "prompts_per_step": 2, "generations": 4, "micro_batch_size": 4, "warmup_steps": 1,
        "max_new_tokens": 24, "plateau_steps": 3, "plateau_problems": 4, "sample_steps": 2,
    },
}  # fmt: skip


def job(stage, data, directory, settings, model="tiny", seed=0, candidate="last"):
    return Job(
        stage=stage, model=str(model), revision="main", data=data, directory=directory, seed=seed, settings=settings,
        training=TINY.training, scale=TINY.scale, candidate=candidate,
    )  # fmt: skip


def run_sft(data, out, settings, model="tiny", seed=0):
    return _run(train_sft, job("sft", data, out, settings, model, seed))


def run_grpo(data, out, settings, model="tiny", seed=0, candidate="last"):
    return _run(train_grpo, job("grpo", data, out, settings, model, seed, candidate))


def _run(train, work):
    """The numbers of a training in this process; its model lies beside its curves."""
    numbers = train(work)
    os.replace(work.directory / "preparing" / "model", work.directory / "model")
    return numbers


def weights(directory):
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def changed(before, after):
    """The share of all weights that differ."""
    before, after = weights(before), weights(after)
    assert before.keys() == after.keys()
    return sum((before[n] != after[n]).sum().item() for n in before) / sum(p.numel() for p in before.values())


def apart_in_mean(first, second):
    """The mean difference of all weights of two models.

    Adam's first step is as large as the learning rate for the smallest gradient too, so where that is rounding alone a
    few weights go one way or the other.
    """
    one, other = weights(first), weights(second)
    return sum((one[n] - other[n]).abs().sum().item() for n in one) / sum(part.numel() for part in one.values())


def apart(first, second):
    """The largest difference of any weight of two models."""
    one, other = weights(first), weights(second)
    return max((one[name] - other[name]).abs().max().item() for name in one)


def start(stage, data, out, model="tiny", **changes):
    """`python -m components.STAGE` in a process group of its own; its output goes to a pipe."""
    checkpoints = changes.pop("checkpoints", None)
    changes = SMALL[stage] | EVERY_STEP | changes
    command = [sys.executable, "-m", f"components.{stage}", "--model", str(model), "--revision", "main"]
    command += ["--data", str(data), "--model-out", str(out / "model"), "--curves-out", str(out / "curves")]
    command += ["--checkpoints", str(checkpoints)] if checkpoints else []
    command += ["--seed", "0", *(f"--set={name}={value}" for name, value in changes.items())]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def finish(process, status=0):
    """Wait for the end; returns what was printed."""
    printed, _ = process.communicate(timeout=WAIT_S)
    assert process.returncode == status, printed
    return printed


def wait_for_step(out, step):
    """Wait until a checkpoint of at least this step is there; returns its step."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        found = [int(path.name[5:]) for path in out.glob("curves.checkpoints/*/step-*")]
        if found and max(found) >= step:
            return max(found)
        time.sleep(0.02)
    raise AssertionError(f"no checkpoint of step {step} within {WAIT_S} s")


def directory_in(out):
    """The directory of the only training that left its checkpoints beside these curves."""
    [path] = out.glob("curves.checkpoints/*")
    return TrainingDir(path)


def rows_of(out, name):
    return [
        {k: v for k, v in row.items() if k != "seconds" and not k.endswith("_per_s")}
        for row in whole_rows(out / "curves" / name)
    ]
