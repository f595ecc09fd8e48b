"""The command line of evaluate."""

import sys

from components.command import main
from components.evaluate.evaluate import evaluate

sys.exit(main("evaluate", evaluate))
