"""The image references of all steps, in one place.

DATA has no torch; TRAINER has torch, transformers and TRL. `GRPO_IMAGE_PREFIX` and `GRPO_IMAGE_TAG` choose
another registry or build when the pipeline is compiled.
"""

import os

_PREFIX = os.environ.get("GRPO_IMAGE_PREFIX", "grpo-pipeline")
_TAG = os.environ.get("GRPO_IMAGE_TAG", "dev")

DATA = f"{_PREFIX}/data:{_TAG}"
TRAINER = f"{_PREFIX}/trainer:{_TAG}"
