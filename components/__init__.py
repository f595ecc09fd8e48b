"""The ten steps of grpo-pipeline, a folder each, and `lib`, which holds what they stand on."""
