"""Two processes on one machine over gloo: the same training as one process, its weights split or not."""

import os
import signal
import subprocess
import sys
import time

import pytest
from safetensors import safe_open

from components.lib.recipe.settings import replace

torch = pytest.importorskip("torch", reason="needs torch: nothing is distributed")

from components.lib.files import read_jsonl, write_jsonl  # noqa: E402
from components.lib.recipe.recipes import TINY  # noqa: E402
from components.lib.training import supervise  # noqa: E402
from tests import ROOT  # noqa: E402
from tests.lib.training.runs import SMALL, apart, apart_in_mean, directory_in, finish, rows_of, start, wait_for_step  # noqa: E402

pytestmark = pytest.mark.slow
TWO = {"scale_processes": 2}
LAST = {
    "max_steps": 6,
    "learning_rate": 1e-3,
    "plateau_steps": 0,
}  # no best weights: the model is that of the last step


@pytest.fixture(scope="module")
def alone(data, tmp_path_factory):
    """SFT in one process."""
    out = tmp_path_factory.mktemp("alone")
    finish(start("sft", data, out))
    return out


def test_sft_equals_one_process_within_rounding(data, alone, tmp_path):
    finish(start("sft", data, tmp_path, **TWO))
    assert apart(alone / "model", tmp_path / "model") < 2e-5
    for mine, theirs in zip(rows_of(tmp_path, "curves.jsonl"), rows_of(alone, "curves.jsonl"), strict=True):
        for name in ("step", "loss", "grad_norm", "learning_rate"):  # TRL averages the others by process
            assert mine[name] == pytest.approx(theirs[name], rel=1e-3, abs=1e-6)


def split(stage, data, out, model, monkeypatch, sharding, how="as it is", candidate="last", **changes):
    """`supervise.train` on a CPU with FSDP on two processes, or for "none" on one; for `how` see fsdp_worker.py."""
    count = 1 if sharding == "none" else 2

    def work(job, lock):
        command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
        command += ["-m", "tests.lib.training.fsdp_worker", job.text(), how]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, check=False)
        return supervise.result_of(job, done.returncode)

    monkeypatch.setattr(supervise, "run_worker", work)
    return supervise.train(
        stage=stage, model=str(model), revision="main", data=data, model_out=out / "model", curves_out=out / "curves",
        checkpoints=None, seed=0, settings=replace(getattr(TINY, stage), **SMALL[stage] | changes),
        training=replace(TINY.training, save_minutes=0.0),
        scale=replace(TINY.scale, processes=count, sharding=sharding), gate_candidate=candidate,
    )  # fmt: skip


@pytest.mark.parametrize("sharding", ["optimizer", "full"])
def test_split_weights_train_alike(data, alone, tmp_path, monkeypatch, sharding):
    split("sft", data, tmp_path, "tiny", monkeypatch, sharding)
    assert apart(alone / "model", tmp_path / "model") < 2e-5


@pytest.fixture(scope="module")
def grpo_alone(data, sft, tmp_path_factory):
    """Six steps of GRPO in one process."""
    out = tmp_path_factory.mktemp("grpo-alone")
    with pytest.MonkeyPatch.context() as patch:
        split("grpo", data, out, sft[0] / "model", patch, "none", **LAST)
    return out


@pytest.mark.parametrize("sharding", ["optimizer", "full"])
def test_split_grpo_ends_in_the_weights_of_one_process(data, sft, grpo_alone, tmp_path, monkeypatch, sharding):
    """The last weights, and in each step what they wrote, the gradient and its size."""
    split("grpo", data, tmp_path, sft[0] / "model", monkeypatch, sharding, **LAST)
    assert apart_in_mean(grpo_alone / "model", tmp_path / "model") < 1e-6
    assert apart_in_mean(sft[0] / "model", tmp_path / "model") > 1e-3
    one, two = (rows_of(out, "curves.jsonl") for out in (grpo_alone, tmp_path))
    assert len(one) == 6 and len({row["completion_length"] for row in one}) > 1, "the rollouts change with the weights"
    for mine, theirs in zip(two, one, strict=True):
        for name in ("step", "reward", "completion_length", "loss", "grad_norm", "learning_rate"):
            assert mine[name] == pytest.approx(theirs[name], rel=1e-3, abs=1e-5), (name, mine["step"])


def test_the_comparison_of_grpo_would_see_rollouts_of_stale_weights(data, sft, grpo_alone, tmp_path, monkeypatch):
    """With a copy for the rollouts that does not follow the weights it ends elsewhere."""
    split("grpo", data, tmp_path, sft[0] / "model", monkeypatch, "full", "stale", **LAST)
    assert apart_in_mean(grpo_alone / "model", tmp_path / "model") > 1e-4


def test_split_weights_write_their_rollouts_from_a_whole_copy(data, sft, tmp_path, monkeypatch):
    """Rollouts of stale or partial weights would be other completions, and train to other weights.

    Measured on a CPU: the best weights of both are 1.6e-8 apart in the mean, and about 2e-3 from where they began.
    """
    for name, sharding in (("one", "none"), ("two", "full")):
        fast = {"learning_rate": 1e-3}
        numbers = split("grpo", data, tmp_path / name, sft[0] / "model", monkeypatch, sharding, **fast)
        assert numbers["steps"] == 12 and numbers["plateau_step"] % 3 == 0
    with safe_open(tmp_path / "two" / "model" / "model.safetensors", "pt") as file:
        assert "lm_head.weight" not in file.keys(), "it is tied to the embedding, of which the best was kept"
    one, two = (rows_of(tmp_path / name, "curves.jsonl") for name in ("one", "two"))
    for name in ("reward", "completion_length"):
        assert [row[name] for row in one] == pytest.approx([row[name] for row in two])
    assert apart_in_mean(tmp_path / "one" / "model", tmp_path / "two" / "model") < 1e-6
    assert apart_in_mean(sft[0] / "model", tmp_path / "two" / "model") > 5e-4


def test_split_weights_may_hand_on_what_they_began_with(data, sft, tmp_path, monkeypatch):
    """One step moves them so far that it cannot be better."""
    numbers = split(
        "grpo", data, tmp_path, sft[0] / "model", monkeypatch, "full", candidate="best", max_steps=1,
        learning_rate=0.05,
    )  # fmt: skip
    assert numbers["plateau_step"] == 0 and [row["step"] for row in rows_of(tmp_path, "plateau.jsonl")] == [0, 1]
    assert apart(sft[0] / "model", tmp_path / "model") == 0


def test_what_accelerate_cannot_split_is_refused(data, tmp_path):
    printed = finish(start("sft", data, tmp_path, **TWO, scale_sharding="full"), status=2)
    assert "scale_sharding=full needs GPUs" in printed


def test_grpo_learns_as_one_process_does(data, sft, tmp_path):
    one = next(read_jsonl(data / "problems.jsonl"))
    write_jsonl(tmp_path / "problems.jsonl", [one])
    changes = {
        "max_steps": 20, "prompts_per_step": 4, "micro_batch_size": 8, "learning_rate": 5e-4, "plateau_steps": 0,
        "max_new_tokens": 48,
    }  # fmt: skip
    for name, scale in (("one", {}), ("two", TWO)):
        finish(start("grpo", tmp_path, tmp_path / name, sft[0] / "model", **changes, **scale))
        rewards = [row["reward"] for row in rows_of(tmp_path / name, "curves.jsonl")]
        assert sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + 0.3, name
    assert {row["used"] for row in rows_of(tmp_path / "two", "curves.jsonl")} == {1.0}


@pytest.mark.fault("the parent of a training on two processes is killed with SIGKILL")
def test_no_process_of_two_outlives_the_parent(data, tmp_path, seen):
    process = start("sft", data, tmp_path, **TWO, max_steps=500)
    wait_for_step(tmp_path, 1)
    alive = workers_in(tmp_path)
    assert len(alive) == 3, "torchrun and its two"
    os.kill(process.pid, signal.SIGKILL)
    killed = time.monotonic()
    while workers_in(tmp_path) and time.monotonic() < killed + 60:
        time.sleep(0.1)
    gone_s = time.monotonic() - killed
    assert not workers_in(tmp_path) and gone_s < 40
    process.communicate()
    seen(f"all {len(alive)} processes of the worker are gone after {gone_s:.0f} s", lost="nothing but the last steps")


def workers_in(out):
    """The processes of the worker whose checkpoints lie beside these curves, torchrun's own included."""
    listed = subprocess.run(
        ["pgrep", "-f", rf"components\.lib\.training.*{directory_in(out).path.name}"], capture_output=True, text=True
    ).stdout
    return [int(line) for line in listed.split()]


def test_one_process_of_two_is_killed_and_the_training_goes_on(data, alone, tmp_path):
    process = start("sft", data, tmp_path, **TWO)
    wait_for_step(tmp_path, 3)
    workers = [number for number in workers_in(tmp_path) if "training.begin" not in _command(number)]
    os.kill(workers[-1], signal.SIGKILL)
    printed = finish(process)
    assert (
        "it is started again from its newest checkpoint (restart 1 of 3)" in printed and "going on from step" in printed
    )
    assert apart(alone / "model", tmp_path / "model") < 2e-5


def _command(process):
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        with open(f"/proc/{process}/cmdline") as file:
            if text := file.read():
                return text
    return ""


def test_a_screening_is_shared(data, sft, tmp_path):
    printed = finish(
        start("grpo", data, tmp_path, sft[0] / "model", **TWO, screen_samples=2, max_steps=1, plateau_steps=0)
    )
    parts = sorted(directory_in(tmp_path).path.glob("screen-*-of-2.jsonl"))
    assert [len(list(read_jsonl(path))) for path in parts] == [16, 16]
    assert printed.count("screen: 16 problems") == 2
