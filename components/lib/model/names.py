"""Names that a recipe gives, told apart without asking anyone: ids of the Hub, places on this disk."""

import re

EMBEDDED = {"tiny": "base", "tiny-small": "small"}  # models of the demo -> their folders in lib/tiny
_COMMIT = re.compile(r"[0-9a-f]{40}")


def looks_local(name: str) -> bool:
    """Whether a name can only mean a place on this disk, be there something or not."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1


def no_hub_id(name: str) -> str:
    """Why a name cannot be a Hub id `owner/name`, by the Hub's own rules; empty if it can."""
    if name.count("/") != 1:
        return "write owner/name"
    from huggingface_hub.errors import HFValidationError  # a third of a second
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        return str(error)
    return ""


def from_hub(name: str, revision: str) -> bool:
    """Whether a model or source came from the Hub, by its revision in a plan: all others have a hash or an ETag."""
    return bool(_COMMIT.fullmatch(revision)) and not no_hub_id(name)
