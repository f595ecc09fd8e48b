"""What the parent of a training is told about each kind of error."""

import pytest

torch = pytest.importorskip("torch", reason="needs torch: no error of its own is judged")

from components.lib.generation.decode import NotFinite  # noqa: E402
from components.lib.training import supervise, worker  # noqa: E402
from components.lib.training.survive import Terminated  # noqa: E402


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("problems.jsonl holds no problem"), supervise.MENDABLE),
        (NotFinite("the loss of step 3 is nan"), supervise.NOT_FINITE),
        (Terminated(), supervise.TERMINATED),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), supervise.MEMORY),
        (torch.AcceleratorError("CUDA error: out of memory", 2), supervise.MEMORY),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), supervise.MEMORY),
        (RuntimeError("Triton Error [CUDA]: out of memory"), supervise.MEMORY),
        (torch.AcceleratorError("CUDA error: an illegal memory access was encountered", 700), supervise.DEVICE),
        (RuntimeError("[gloo/transport/tcp/pair.cc:535] Connection closed by peer"), supervise.DEVICE),
        (torch.distributed.DistNetworkError("failed to recv, got 0 bytes"), supervise.DEVICE),
        (KeyError("advantages"), 1),
        (RuntimeError("The size of tensor a (3) must match"), 1),
    ],
)  # fmt: skip
def test_every_error_has_its_status(error, status):
    assert worker.judge(error)[0] == status
