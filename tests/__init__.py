"""Tests, laid out as components/ is: the test of a file lies where the file does.

Besides: `pipeline/` runs the whole of it, `cluster/` needs a cluster, `docker/` an engine, `fixtures/` is what several
tests share.
"""

from pathlib import Path

ROOT = Path(__file__).parents[1]
