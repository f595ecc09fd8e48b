"""The command line of gate."""

import sys

from components.gate.gate import run_gate
from components.lib.command import main

sys.exit(main("gate", run_gate))
