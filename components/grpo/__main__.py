"""The command line of grpo."""

import sys

from components.command import main
from components.grpo.train import train_grpo

sys.exit(main("grpo", train_grpo))
