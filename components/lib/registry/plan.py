"""The plan: what preflight resolved and hands to every step as one JSON string.

It names the base model and each source at a fixed revision (a commit on the Hub, a hash of a local file, an
ETag on S3), so that a cached step is reused exactly when its inputs are unchanged.
"""

from typing import Any

from pydantic import Field

from components.lib.recipe import checkers
from components.lib.recipe.schema import Form, Source
from components.lib.recipe.settings import Settings, from_json, replace, to_json


class Plan(Settings):
    """Resolved inputs of a run."""

    model: str = Field(description="Hub id, directory, or tiny")
    revision: str = Field(description="commit of a Hub model, hash of a local one")
    sources: tuple[Source, ...] = Field(description="sources with `revision` resolved")
    evaluation: tuple[Source, ...] = Field(description="evaluation sources with `revision` resolved")
    seed: int = Field(description="seed of the run")
    data_seed: int = Field(default=-1, description="seed of rows, splits and exemplars, -1: that of the run")
    form: Form = Field(default="marker", description="how final answers are given")
    system_prompt: str = Field(default="", description="the recipe's own, empty: by form and answers")
    checkers: dict[str, str] = Field(
        default={}, description="`answers` of a source -> base64 of the gzip of the checker's code"
    )
    generation: int = Field(
        default=0, description="how often what was made from all this has been cleaned away: a cache must not name that"
    )

    @property
    def rows_seed(self) -> int:
        """The seed that decides rows, splits and exemplars."""
        return self.seed if self.data_seed < 0 else self.data_seed

    def text(self) -> str:
        """The plan as the string that travels through KFP."""
        return to_json(self)

    def hashed(self) -> "Plan":
        """The plan with the hashes of its checkers in place of their code, as records and releases keep it."""
        return replace(self, checkers={name: checkers.hash_of(text) for name, text in self.checkers.items()})

    @staticmethod
    def read(text: str) -> "Plan":
        """The plan from its string; `ValueError` if it is not one."""
        return from_json(Plan, text)

    def start(self, policy: Any) -> tuple[str, str]:
        """Model and revision that a step starts from: the KFP artifact `policy`, or the base without one."""
        return (policy.path, "") if policy else (self.model, self.revision)
