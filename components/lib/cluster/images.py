"""The image references of all steps, in one place.

The data image has no torch; the trainer image has torch, transformers and TRL. `GRPO_IMAGE_PREFIX` and
`GRPO_IMAGE_TAG` choose another registry or build when the pipeline is compiled; `submit` and `schedule create` insist
on a tag.
"""

import os


def choice() -> dict[str, str]:
    """The variables that choose registry and build, with the values that count."""
    defaults = {"GRPO_IMAGE_PREFIX": "grpo-pipeline", "GRPO_IMAGE_TAG": "dev"}
    return {name: os.environ.get(name, default) for name, default in defaults.items()}


def data() -> str:
    """The image of the steps that need no model."""
    return "{GRPO_IMAGE_PREFIX}/data:{GRPO_IMAGE_TAG}".format_map(choice())


def trainer() -> str:
    """The image of the steps that do."""
    return "{GRPO_IMAGE_PREFIX}/trainer:{GRPO_IMAGE_TAG}".format_map(choice())


def is_trainer(image: str) -> bool:
    """Whether a reference is that of a trainer image, in whatever registry and build."""
    return image.rpartition(":")[0].endswith("/trainer")


def check_chosen() -> None:
    """Refuse to send a cluster the tag that stands for no build: `ValueError` names what chooses one."""
    if not os.environ.get("GRPO_IMAGE_TAG"):
        raise ValueError(
            f"GRPO_IMAGE_TAG is not set, and no cluster can pull {data()}; in this shell run the `export "
            "GRPO_IMAGE_PREFIX=... GRPO_IMAGE_TAG=...` that `make image REGISTRY=...` prints last"
        )
