"""One finding of `doctor`."""

from dataclasses import dataclass

ASK_S = 5  # for one question to the API server


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
