"""The command line of grpo."""

import sys

from components.command import main
from components.supervise import train

sys.exit(main("grpo", train))
