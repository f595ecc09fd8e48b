"""The supervised warm-up."""
