"""One finding of `doctor` and of what it runs inside a Pod."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from components.lib.cluster import images
from components.lib.inside import reason, unreachable


@dataclass(frozen=True)
class Finding:
    """What one check has found: `fix` is the command or change that helps."""

    ok: bool
    what: str
    detail: str
    fix: str = ""

    def __str__(self) -> str:
        text = f"{'ok     ' if self.ok else 'WRONG  '}{self.what}: {self.detail}"
        return text if self.ok or not self.fix else f"{text}\n       fix: {self.fix}"


def asked(what: str, right: str, check: Callable[..., Finding], *given: Any) -> Finding:
    """What `check` finds, or that the API server does not answer it, as where the account lacks `right`."""
    try:
        return check(*given)
    except unreachable() as error:
        lacks = getattr(error, "status", None) == 403
        fix = f"ask for the right to {right}" if lacks else "try `kubectl get nodes`, and doctor again"
        return Finding(False, what, f"cannot be asked: {reason(error)}", fix)


def apply_overlay() -> str:
    """The command that applies an overlay with our image in place of the manifests'."""
    ours = f'sed "s#grpo-pipeline/data:dev#{images.data()}#"'
    return f"kubectl kustomize manifests/overlays/YOURS | {ours} | kubectl apply -f -"
