"""Training that is killed, told to end, out of memory or diverging, in real processes."""

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from components.lib.recipe.settings import replace
from tests import ROOT

torch = pytest.importorskip("torch", reason="needs torch: no training is run")

from components.lib.files import read_json, write_json, write_jsonl  # noqa: E402
from components.lib.model.files import model_directory  # noqa: E402
from components.lib.recipe.recipes import TINY  # noqa: E402
from components.lib.training import pace, supervise, worker  # noqa: E402
from tests.fixtures import memory  # noqa: E402
from tests.lib.training.runs import (  # noqa: E402
    GRPO,
    SMALL,
    WAIT_S,
    directory_in,
    finish,
    rows_of,
    run_grpo,
    run_sft,
    start,
    wait_for_step,
)


def weights_of(out):
    return hashlib.sha256((out / "model" / "model.safetensors").read_bytes()).hexdigest()


def kill(process):
    """kill -9 of parent and worker."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "kills", "changes"), [("sft", 1, {}), ("grpo", 2, {"gate_candidate": "best"})])
def test_killed_at_random_steps_it_ends_in_the_same_weights(data, sft, tmp_path, stage, kills, changes):
    """kill -9 of parent and worker before anything is saved, and at any moment after a random step."""
    model = "tiny" if stage == "sft" else sft[0] / "model"
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finish(start(stage, data, whole, model, **changes))
    process = start(stage, data, killed, model, **changes, training_save_minutes=1000.0)
    next(line for line in process.stdout if line.startswith("step 1/"))
    kill(process)
    seed = random.SystemRandom().randrange(10**6)
    print(f"the kills are drawn with seed {seed}")
    draw = random.Random(seed)
    for step in sorted(draw.sample(range(1, SMALL[stage]["max_steps"] - 1), kills)):
        process = start(stage, data, killed, model, **changes)
        wait_for_step(killed, step)
        time.sleep(draw.random() * 0.2)
        kill(process)
    assert "going on from step" in finish(start(stage, data, killed, model, **changes))
    assert weights_of(killed) == weights_of(whole)
    names = ("curves.jsonl",) if stage == "sft" else ("curves.jsonl", "samples.jsonl", "plateau.jsonl")
    for name in names:
        assert rows_of(killed, name) == rows_of(whole, name) != []
    if stage == "grpo":
        assert [row["step"] for row in rows_of(whole, "plateau.jsonl")] == [0, 3, 6, 9, 12]


@pytest.mark.slow
def test_told_to_end_it_saves_and_goes_on_from_there(data, tmp_path):
    long = {"max_steps": 60, "training_save_minutes": 1000.0}
    process = start("sft", data, tmp_path, **long)
    for line in process.stdout:
        if line.startswith("step 1/"):
            break
    process.terminate()
    finish(process, status=128 + signal.SIGTERM)
    [checkpoint] = directory_in(tmp_path).steps()
    step = int(checkpoint.name[5:])
    printed = finish(start("sft", data, tmp_path, **long))
    assert f"going on from step {step}," in printed
    assert [row["step"] for row in rows_of(tmp_path, "curves.jsonl")] == list(range(1, 61))


@pytest.mark.slow
@pytest.mark.fault("the parent of a training is killed with SIGKILL")
def test_a_worker_whose_parent_was_killed_saves_and_ends(data, tmp_path, seen):
    process = start("sft", data, tmp_path, max_steps=200, training_save_minutes=1000.0)
    for line in process.stdout:
        if line.startswith("step 1/"):
            break
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    killed, directory = time.monotonic(), directory_in(tmp_path)
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        try:
            with directory.locked():
                break
        except ValueError:
            time.sleep(0.1)
    gone_s = time.monotonic() - killed
    last = process.stdout.read().strip().splitlines()[-1]
    process.stdout.close()
    [checkpoint] = directory.steps()
    assert gone_s < 10 and last == f"saved step {int(checkpoint.name[5:])}", "it held the lock until it had saved"
    seen(f"{last}; the worker is gone after {gone_s:.1f} s")


@pytest.mark.slow
@pytest.mark.fault("a worker hangs (here: it is stopped with SIGSTOP)")
def test_a_worker_that_hangs_is_ended_and_started_again(data, tmp_path, monkeypatch, capsys, seen):
    """The bound of the pace, an hour at least, shrinks while the worker is stopped and no longer."""
    monkeypatch.setattr(supervise, "LOOK_S", 0.2)
    monkeypatch.setattr(supervise, "GRACE_S", 0.5)
    stopped = threading.Thread(target=stop_the_worker, args=(tmp_path, 3))
    stopped.start()
    numbers = supervise.train(
        stage="sft", model="tiny", revision="main", data=data, model_out=tmp_path / "model",
        curves_out=tmp_path / "curves", checkpoints=None, seed=0, settings=replace(TINY.sft, **SMALL["sft"]),
        training=replace(TINY.training, save_minutes=0.0), scale=TINY.scale,
    )  # fmt: skip
    stopped.join()
    printed = capsys.readouterr().out
    told = re.search(r"sft: its process hangs: .*; it is started again from its newest checkpoint .*", printed)
    assert told and re.search(r"going on from step \d+", printed) and numbers["steps"] == 12
    assert [row["step"] for row in rows_of(tmp_path, "curves.jsonl")] == list(range(1, 13))
    seen(told[0])


def stop_the_worker(out, step):
    """Stop the worker of this process after a step; without a look at what is written it hangs at once."""
    wait_for_step(out, step)
    command = ["pgrep", "-P", str(os.getpid()), "-f", "components.lib.training.begin"]
    [worker] = map(int, subprocess.run(command, capture_output=True, text=True).stdout.split())
    os.kill(worker, signal.SIGSTOP)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pace, "QUIET_S", 1.0)
        patch.setattr(pace, "TIMES", 0)
        while Path(f"/proc/{worker}").exists():
            time.sleep(0.05)


@pytest.mark.slow
def test_a_second_run_is_kept_out(data, tmp_path):
    first = start("sft", data, tmp_path, max_steps=60)
    wait_for_step(tmp_path, 1)
    assert "another run works in" in finish(start("sft", data, tmp_path, max_steps=60), status=2)
    finish(first)


def failing(how):
    """Workers that fail in a way of failing_worker.py."""

    def work(job, lock):
        command = [sys.executable, "-m", "tests.lib.training.failing_worker", how, job.text()]
        return supervise.result_of(job, subprocess.run(command, cwd=ROOT, check=False).returncode)

    return work


def with_memory(mib):
    """Workers that get `mib` MiB and no more; forked from this process, since torch takes half a minute to import."""

    def work(job, lock):
        sys.stdout.flush()
        if not (process := os.fork()):
            status = 1
            try:
                with memory.left(mib):
                    status = worker.main(job.text())
            finally:
                sys.stdout.flush()
                os._exit(status)
        return supervise.result_of(job, os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))

    return work


def trained(stage, data, out, model, work, **changes):
    """`supervise.train` with such workers."""
    settings = replace(getattr(TINY, stage), **SMALL[stage] | changes)
    return supervise.train(
        stage=stage, model=str(model), revision="main", data=data, model_out=out / "model",
        curves_out=out / "curves", checkpoints=None, seed=0, settings=settings,
        training=replace(TINY.training, save_minutes=0.0, restarts=1), scale=TINY.scale, work=work,
    )  # fmt: skip


@pytest.mark.slow
def test_out_of_memory_halves_the_micro_batch_and_goes_on(data, tmp_path, capfd):
    numbers = trained("sft", data, tmp_path, "tiny", failing("memory"), micro_batch_size=16)
    printed = capfd.readouterr().out
    assert "micro_batch_size=8 instead of 16" in printed and "micro_batch_size=4 instead of 8" in printed
    assert numbers["steps"] == 12 and read_json(directory_in(tmp_path).path / "fit.json") == {"micro_batch_size": 4}
    assert [row["step"] for row in rows_of(tmp_path, "curves.jsonl")] == list(range(1, 13))


@pytest.mark.skipif(torch.cuda.is_available(), reason="trains on the GPU: the machine's memory does not run out")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.fault("the machine's memory runs out while a training on a CPU computes")
def test_out_of_the_machines_memory_halves_it_too(tmp_path, capfd, seen):
    """Five rows in one forward pass take more than 500 MiB, one takes 150."""
    text = "<think>\n" + " ".join(str(number % 100) for number in range(200)) + "\n</think>\n\n#### 4"
    messages = [{"role": "user", "content": "Count."}, {"role": "assistant", "content": text}]
    write_jsonl(tmp_path / "sft.jsonl", [{"messages": messages}] * 5)
    sizes = {"max_steps": 2, "batch_size": 5, "micro_batch_size": 5, "max_tokens": 4096}
    numbers = trained("sft", tmp_path, tmp_path, "tiny", with_memory(300), **sizes)
    printed = capfd.readouterr()
    [told] = [line for line in printed.out.splitlines() if "out of memory" in line]
    assert "DefaultCPUAllocator: can't allocate memory" in printed.err
    assert "micro_batch_size=1 instead of 5" in told and numbers["steps"] == 2
    assert (tmp_path / "model" / "model.safetensors").exists()
    assert [row["step"] for row in rows_of(tmp_path, "curves.jsonl")] == [1, 2]
    seen(told)


@pytest.mark.fault("a training is too large for the machine that it runs on")
def test_what_cannot_fit_is_refused_before_anything_is_loaded(data, tmp_path, seen):
    model = tmp_path / "model"
    shutil.copytree(model_directory("tiny", "main"), model)
    write_json(model / "config.json", read_json(model / "config.json") | {"hidden_size": 2**15, "vocab_size": 2**20})
    printed = finish(start("sft", data, tmp_path, model), status=2)
    assert "of memory and can have" in printed and "Traceback" not in printed
    seen(printed.splitlines()[-1])


@pytest.mark.slow
def test_a_lost_device_starts_again_from_the_checkpoint(data, sft, tmp_path, capfd):
    numbers = trained("grpo", data, tmp_path, sft[0] / "model", failing("device"), max_steps=5)
    printed = capfd.readouterr().out
    assert "illegal memory access was encountered; it is started again" in printed
    assert "going on from step 3" in printed and numbers["steps"] == 5


def test_a_bug_is_not_tried_again(data, tmp_path, capfd):
    with pytest.raises(RuntimeError, match="sft gave up: KeyError: 'advantages'"):
        trained("sft", data, tmp_path, "tiny", failing("bug"))
    printed = capfd.readouterr()
    assert "Traceback" in printed.err and "started again" not in printed.out


@pytest.mark.fault("the loss of SFT is NaN")
def test_a_diverging_run_stops_with_the_step_and_the_batch(data, tmp_path, seen):
    """Real divergence: a learning rate that no weights survive."""
    printed = finish(start("sft", data, tmp_path, learning_rate=1e30, warmup_steps=0), 1)
    found = re.search(r"sft gave up: the (loss|gradient norm) of step (\d+) is (nan|inf); the batch is saved", printed)
    assert found, printed
    [saved] = directory_in(tmp_path).path.glob(f"not-finite/step-{int(found[2]):08}-*.pt")
    batch, texts = torch.load(saved), json.loads(saved.with_suffix(".json").read_text())
    assert batch["input_ids"].shape[0] == len(texts["input_ids"]) == SMALL["sft"]["micro_batch_size"]
    assert "####" in texts["input_ids"][0]
    seen(printed.strip().splitlines()[-1], lost="nothing but the steps that diverged")


@pytest.mark.slow
@pytest.mark.fault("the weights of GRPO are NaN after a step")
def test_rollouts_of_broken_weights_stop_too(data, sft, tmp_path, seen):
    wild = {"learning_rate": 1e30, "warmup_steps": 0, "plateau_steps": 0}
    printed = finish(start("grpo", data, tmp_path, sft[0] / "model", **wild), 1)
    assert re.search(r"gave up: after step \d+: the model answers its prompts with NaN or infinite logits", printed)
    seen(printed.strip().splitlines()[-1], lost="nothing but the steps that diverged")


def test_a_gradient_that_overflows_under_a_finite_loss_stops_it_too(data, tmp_path):
    from components.lib.generation.decode import NotFinite
    from components.sft.train import SftTrainer

    class Broken(SftTrainer):
        def training_step(self, model, inputs, num_items_in_batch=None):
            loss = super().training_step(model, inputs, num_items_in_batch)
            next(model.parameters()).grad.fill_(float("inf"))
            return loss

    with pytest.MonkeyPatch.context() as patch, pytest.raises(NotFinite, match="the gradient norm of step 1 is inf"):
        patch.setattr("components.sft.train.SftTrainer", Broken)
        run_sft(data, tmp_path, replace(TINY.sft, max_steps=2, batch_size=8, micro_batch_size=8))
    [saved] = tmp_path.glob("not-finite/*.pt")
    assert torch.load(saved)["input_ids"].shape[0] == 8


def test_a_loss_that_is_not_finite_leaves_the_weights_alone(data, sft, tmp_path):
    """The batch of a GRPO step is saved too, and the optimizer has not moved."""
    from components.grpo.trainer import GrpoTrainer
    from components.lib.generation.decode import NotFinite

    class Broken(GrpoTrainer):
        def _compute_loss(self, model, inputs):
            before.update({name: p.detach().clone() for name, p in model.named_parameters()})
            seen.append(model)
            return super()._compute_loss(model, inputs) * float("inf")

    before, seen = {}, []
    with pytest.MonkeyPatch.context() as patch, pytest.raises(NotFinite, match="the loss of step 1 is"):
        patch.setattr("components.grpo.train.GrpoTrainer", Broken)
        run_grpo(data, tmp_path, replace(GRPO, max_steps=2), sft[0] / "model")
    assert all(torch.equal(before[name], p) for name, p in seen[0].named_parameters())
    [saved] = tmp_path.glob("not-finite/*.pt")
    assert torch.load(saved)["completion_ids"].shape[0] == GRPO.micro_batch_size
