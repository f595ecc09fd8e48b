"""The image references of all steps, in one place.

DATA has no torch; TRAINER has torch, transformers and TRL. `GRPO_IMAGE_PREFIX` and `GRPO_IMAGE_TAG` choose
another registry or build when the pipeline is compiled.
"""

import os

CHOICE = {
    "GRPO_IMAGE_PREFIX": os.environ.get("GRPO_IMAGE_PREFIX", "grpo-pipeline"),
    "GRPO_IMAGE_TAG": os.environ.get("GRPO_IMAGE_TAG", "dev"),
}

DATA = "{GRPO_IMAGE_PREFIX}/data:{GRPO_IMAGE_TAG}".format_map(CHOICE)
TRAINER = "{GRPO_IMAGE_PREFIX}/trainer:{GRPO_IMAGE_TAG}".format_map(CHOICE)
