"""Ask a checkpoint all problems."""
