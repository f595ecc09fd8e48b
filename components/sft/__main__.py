"""The command line of sft."""

import sys

from components.command import main
from components.sft.train import train_sft

sys.exit(main("sft", train_sft))
