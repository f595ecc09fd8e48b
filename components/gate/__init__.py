"""The gate: whether a trained model is good enough to be pushed."""
