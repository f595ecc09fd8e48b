"""The real worker, in which accelerate takes a CPU for a device that FSDP may have: it knows FSDP on GPUs alone.

PyTorch itself has FSDP2 on a CPU over gloo; only accelerate's list of devices stands between them.
"""

import sys

from accelerate import state
from accelerate.utils import DistributedType

from components.lib.training import worker

init = state.AcceleratorState.__init__


def with_fsdp(self, *arguments, fsdp_plugin=None, **named):
    """The real constructor; then what it does for a GPU."""
    init(self, *arguments, fsdp_plugin=fsdp_plugin, **named)
    if fsdp_plugin is not None and self.distributed_type == DistributedType.MULTI_CPU:
        self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, fsdp_plugin
        state.PartialState._shared_state["distributed_type"] = DistributedType.FSDP


state.AcceleratorState.__init__ = with_fsdp
sys.exit(worker.main(sys.argv[1]))
