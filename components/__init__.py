"""The ten steps of grpo-pipeline, a folder each, and `lib`, which holds what they stand on."""

import sys

if not (3, 11) <= sys.version_info[:2] <= (3, 12):
    found = "{}.{}".format(*sys.version_info)
    print(f"grpo-pipeline needs Python 3.11 or 3.12, this is {found}: use .venv/bin/python, or `make`", file=sys.stderr)
    sys.exit(2)
