"""What the parent of a training is told about each kind of error."""

import importlib

import pytest

torch = pytest.importorskip("torch", reason="needs torch: no error of its own is judged")

from safetensors import SafetensorError  # noqa: E402

from components.lib.generation.decode import NotFinite  # noqa: E402
from components.lib.training import worker  # noqa: E402
from components.lib.training.job import TASKS, Status  # noqa: E402
from components.lib.training.survive import Terminated  # noqa: E402


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("problems.jsonl holds no problem"), Status.INVALID),
        (NotFinite("the loss of step 3 is nan"), Status.NOT_FINITE),
        (Terminated(), Status.TERMINATED),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), Status.OUT_OF_MEMORY),
        (torch.AcceleratorError("CUDA error: out of memory", 2), Status.OUT_OF_MEMORY),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), Status.OUT_OF_MEMORY),
        (RuntimeError("Triton Error [CUDA]: out of memory"), Status.OUT_OF_MEMORY),
        (torch.AcceleratorError("CUDA error: an illegal memory access was encountered", 700), Status.LOST),
        (RuntimeError("[gloo/transport/tcp/pair.cc:535] Connection closed by peer"), Status.LOST),
        (torch.distributed.DistNetworkError("failed to recv, got 0 bytes"), Status.LOST),
        (OSError(28, "No space left on device"), Status.INVALID),
        (FileNotFoundError(2, "No such file or directory", "sft.jsonl"), Status.INVALID),
        (RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0"), Status.INVALID),
        (SafetensorError("I/O error: No space left on device (os error 28)"), Status.INVALID),
        (OSError("the Hub answers 502"), Status.FAILED),
        (KeyError("advantages"), Status.FAILED),
        (RuntimeError("The size of tensor a (3) must match"), Status.FAILED),
    ],
)  # fmt: skip
def test_every_error_has_its_status(error, status, tmp_path):
    assert worker.judge(error, tmp_path).status is status


@pytest.mark.parametrize("name", TASKS.values())
def test_every_task_is_a_function(name):
    module, function = name.split(":")
    assert callable(getattr(importlib.import_module(module), function))
