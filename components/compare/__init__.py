"""Compare checkpoints in one report."""
