"""Hides the kernels that need a GPU where there is none; gpu_kernels.pth has Python run this when it starts.

transformers takes `fla` and `causal_conv1d` wherever they can be imported, and would call them on a CPU.
"""

import os
import sys

if not os.path.exists("/dev/nvidiactl"):
    sys.modules["fla"] = sys.modules["causal_conv1d"] = None  # type: ignore[assignment]
