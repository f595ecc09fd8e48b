"""Tests, laid out as components/ is: the test of a file lies where the file does.

Besides: `pipeline/` runs the whole of it, `cluster/` needs a cluster, `docker/` an engine, `fixtures/` is what several
tests share. Real data, which the project does not ship, is looked for in GRPO_TEST_DATA.
"""

import os
from pathlib import Path

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("GRPO_TEST_DATA", ROOT.parent / "shared"))  # gsm8k/{train,test}.jsonl, if they are there
