"""The command line of evaluate."""

import sys

from components.evaluate.evaluate import evaluate
from components.lib.command import main

sys.exit(main("evaluate", evaluate))
