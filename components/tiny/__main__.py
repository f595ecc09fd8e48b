"""Rebuild the embedded base: `python -m components.tiny --output DIR --seed N`."""

import argparse
from pathlib import Path


def main() -> None:
    """Parse the command line and build."""
    parser = argparse.ArgumentParser(prog="python -m components.tiny", description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="directory for the model and its tokenizer")
    parser.add_argument("--seed", type=int, required=True, help="seed of the weights and of the pre-training texts")
    arguments = parser.parse_args()

    from components.tiny.build import build_base

    build_base(arguments.output, arguments.seed)


if __name__ == "__main__":
    main()
