"""The first step: checks everything that can be checked before a GPU is taken, and asks whether to run."""
