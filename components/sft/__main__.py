"""The command line of sft."""

import sys

from components.lib.command import main
from components.lib.training.supervise import train

sys.exit(main("sft", train))
