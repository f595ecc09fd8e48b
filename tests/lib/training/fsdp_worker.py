"""The real worker, in which accelerate takes a CPU for a device that FSDP may have: it knows FSDP on GPUs alone.

PyTorch itself has FSDP2 on a CPU over gloo; only accelerate's list of devices stands between them. The rollouts are
greedy, so that they do not depend on the number of processes, and differ within a group by where they are cut off.
A second argument of `stale` leaves the copy that writes them at the weights of the beginning.
"""

import sys

from accelerate import state
from accelerate.utils import DistributedType

from components.grpo.rollouts import Policy, Rollouts
from components.lib.training import worker

init = state.AcceleratorState.__init__


def with_fsdp(self, *arguments, fsdp_plugin=None, **named):
    """The real constructor; then what it does for a GPU."""
    init(self, *arguments, fsdp_plugin=fsdp_plugin, **named)
    if fsdp_plugin is not None and self.distributed_type == DistributedType.MULTI_CPU:
        self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, fsdp_plugin
        state.PartialState._shared_state["distributed_type"] = DistributedType.FSDP


write = Rollouts.write


def cut_off(self, trained, ids, seed, *, greedy=False):
    """The real greedy completions, of which every second one is cut off at a third."""
    written = write(self, trained, ids, seed, greedy=True)
    return written if greedy else [row[: 1 + len(row) // 3] if n % 2 else row for n, row in enumerate(written)]


if sys.argv[2] == "stale":
    Policy._follow = lambda *_: None
state.AcceleratorState.__init__, Rollouts.write = with_fsdp, cut_off
sys.exit(worker.main(sys.argv[1]))
