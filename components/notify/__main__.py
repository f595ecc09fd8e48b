"""The command line of notify."""

import sys

from components.lib.command import main
from components.notify.notify import report

sys.exit(main("notify", report))
