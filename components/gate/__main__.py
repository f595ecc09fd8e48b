"""The command line of gate."""

import sys

from components.command import main
from components.gate.gate import run_gate

sys.exit(main("gate", run_gate))
