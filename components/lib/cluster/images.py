"""The image references of all steps, in one place.

DATA has no torch; TRAINER has torch, transformers and TRL. `GRPO_IMAGE_PREFIX` and `GRPO_IMAGE_TAG` choose
another registry or build when the pipeline is compiled; `submit` and `schedule create` insist on a tag.
"""

import os

CHOICE = {
    "GRPO_IMAGE_PREFIX": os.environ.get("GRPO_IMAGE_PREFIX", "grpo-pipeline"),
    "GRPO_IMAGE_TAG": os.environ.get("GRPO_IMAGE_TAG", "dev"),
}

DATA = "{GRPO_IMAGE_PREFIX}/data:{GRPO_IMAGE_TAG}".format_map(CHOICE)
TRAINER = "{GRPO_IMAGE_PREFIX}/trainer:{GRPO_IMAGE_TAG}".format_map(CHOICE)


def check_chosen() -> None:
    """Refuse to send a cluster the tag that stands for no build: `ValueError` names what chooses one."""
    if not os.environ.get("GRPO_IMAGE_TAG"):
        raise ValueError(
            f"GRPO_IMAGE_TAG is not set, and no cluster can pull {DATA}; in this shell run the `export "
            "GRPO_IMAGE_PREFIX=... GRPO_IMAGE_TAG=...` that `make image REGISTRY=...` prints last"
        )
