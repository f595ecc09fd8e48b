"""One finding of `doctor`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from components.lib.cluster import images, pods

ASK_S = 5  # for one question to the API server
OVERLAY = (
    f'kubectl kustomize manifests/overlays/YOURS | sed "s#grpo-pipeline/data:dev#{images.DATA}#" | kubectl apply -f -'
)


@dataclass(frozen=True)
class Line:
    """One finding: `mend` is the command or change that helps."""

    ok: bool
    what: str
    detail: str
    mend: str = ""

    def __str__(self) -> str:
        word = "ok     " if self.ok else "WRONG  "
        return f"{word}{self.what}: {self.detail}" + (
            f"\n       mend: {self.mend}" if not self.ok and self.mend else ""
        )


def asked(what: str, right: str, check: Callable[..., Line], *given: Any) -> Line:
    """What `check` finds, or that the API server does not answer it, as where the account lacks `right`."""
    try:
        return check(*given)
    except pods.unreachable() as error:
        lacks = getattr(error, "status", None) == 403
        mend = f"ask for the right to {right}" if lacks else "try `kubectl get nodes`, and doctor again"
        return Line(False, what, f"cannot be asked: {pods.reason(error)}", mend)
