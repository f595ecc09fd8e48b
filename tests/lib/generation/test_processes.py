"""Batches in several processes: the same completions, and a process that dies costs nothing but time."""

import os
import signal
import time

import pytest

pytest.importorskip("torch", reason="needs torch: no model is run")

from components.lib import machine
from components.lib.generation import backends, processes
from components.lib.generation.decode import NotFinite
from components.lib.model.files import model_directory
from tests.lib.generation.test_backends import ask, questions

DRAWN = backends.Sampling(
    max_new_tokens=32, temperature=1.0, batch_size=5, batch_tokens=65_536, gpu_memory_utilization=0.5
)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_several_processes_write_what_one_writes(monkeypatch, temperature):
    backend = backends.open_backend("transformers", model_directory("tiny", "main"), DRAWN)
    texts = questions(backend.tokenizer, 24)
    alone = ask(backend, texts, list(range(24)))
    monkeypatch.setattr(processes, "count", lambda batches, threads: 3)
    assert ask(backend, texts, list(range(24))) == alone
    assert len({completion.text for completion in alone}) > 12


def who(item):
    time.sleep(0.2)
    return os.getpid()


def test_they_work_at_the_same_time_and_are_gone_at_the_end():
    made = list(processes.shared_out(range(6), who, 3))
    assert sorted(item for item, _ in made) == list(range(6))
    workers = {worker for _, worker in made}
    assert len(workers) == 3 and os.getpid() not in workers
    for worker in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)


def test_one_process_is_this_one():
    assert list(processes.shared_out([5], who, 1)) == [(5, os.getpid())]


@pytest.mark.parametrize("victims", [1, 2])
def test_the_work_of_a_killed_process_is_done_all_the_same(victims, tmp_path, capsys):
    def work(item):
        if item < victims and not (place := tmp_path / str(item)).exists():
            place.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return item * item

    assert sorted(processes.shared_out(range(4), work, 2)) == [(0, 0), (1, 1), (2, 4), (3, 9)]
    assert capsys.readouterr().out.count("a process that generates was killed") == victims


def test_an_error_of_the_work_is_raised_here():
    def work(item):
        raise NotFinite(f"item {item}")

    with pytest.raises(NotFinite, match="item [01]"):
        list(processes.shared_out(range(4), work, 2))


def test_who_stops_listening_leaves_no_process():
    made = processes.shared_out(range(8), who, 2)
    _, worker = next(made)
    made.close()
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


@pytest.mark.parametrize(
    ("batches", "threads", "environment", "expected"),
    [
        (8, 4, {}, 4),
        (3, 4, {}, 1),  # four threads keep more CPUs at work than three processes
        (3, 1, {}, 3),
        (1, 1, {}, 1),
        (8, 1, {"OMP_NUM_THREADS": "1", machine.CHOSEN_VARIABLE: "1"}, 4),
        (8, 1, {"OMP_NUM_THREADS": "1"}, 1),  # the user's
        (8, 4, {"WORLD_SIZE": "2"}, 1),
    ],
)
def test_how_many(monkeypatch, batches, threads, environment, expected):
    for name in ("OMP_NUM_THREADS", machine.CHOSEN_VARIABLE, "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(machine, "idle_cpus", lambda: 4)
    assert processes.count(batches, threads) == expected
