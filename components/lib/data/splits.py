"""The splits: which files `standardize` writes, each `<split>.jsonl`, and who reads which."""

HELD_OUT = ("plateau", "gate")  # problems of the training sources that nothing is trained on
FROM_TRAINING = ("sft", "problems", *HELD_OUT)  # rows of the training sources
SPLITS = (*FROM_TRAINING, "evaluation")
FILES = (*SPLITS, "rejects")
OF_STAGE = {"sft": ("sft",), "grpo": ("problems", "plateau")}  # what a training reads
