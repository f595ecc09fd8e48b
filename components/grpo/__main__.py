"""The command line of grpo."""

import sys

from components.lib.command import main
from components.lib.training.supervise import train

sys.exit(main("grpo", train))
