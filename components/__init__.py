"""The stages of grpo-pipeline and the truths that they share."""
