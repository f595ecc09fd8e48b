"""The exit handler: says how a run ended."""
