"""The command line of sft."""

import sys

from components.command import main
from components.supervise import train

sys.exit(main("sft", train))
