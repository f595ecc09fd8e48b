"""One training to be done: what SFT and GRPO take, and how it travels to the process that does it. No torch."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.lib.data.splits import OF_STAGE
from components.lib.files import code_sha256, sha256
from components.lib.models import model_directory, model_sha256
from components.lib.recipe.schema import Grpo, Scale, Sft, Training
from components.lib.recipe.settings import from_dict, plain, replace

SETTINGS: dict[str, type[Sft] | type[Grpo]] = {"sft": Sft, "grpo": Grpo}


@dataclass(frozen=True, kw_only=True)
class Job:
    """A training: `model` (directory, `tiny` or Hub id at `revision`) on the files of `data`, into `place`.

    `place` is a directory as lib/training/checkpoints.py describes it; the result lies in its `finished`.
    """

    stage: str
    model: str
    revision: str
    data: Path
    place: Path
    seed: int
    settings: Any  # Sft or Grpo, by `stage`
    training: Training
    scale: Scale
    task: str = "train"  # or screen
    resume: str = ""  # the checkpoint to go on from

    def text(self) -> str:
        """The job as one line of JSON."""
        texts = {
            name: str(getattr(self, name)) for name in ("stage", "model", "revision", "data", "place", "task", "resume")
        }
        settings = {name: plain(getattr(self, name)) for name in ("settings", "training", "scale")}
        return json.dumps({**texts, "seed": self.seed, **settings})

    @staticmethod
    def read(text: str) -> "Job":
        """The job from its text."""
        values = json.loads(text)
        values["settings"] = from_dict(SETTINGS[values["stage"]], values["settings"])
        values["training"], values["scale"] = from_dict(Training, values["training"]), from_dict(Scale, values["scale"])
        return Job(**values | {name: Path(values[name]) for name in ("data", "place")})

    def inputs(self) -> dict[str, Any]:
        """All that decides the result: model, data, seed, settings and code; the key of its checkpoints."""
        files = [self.data / f"{split}.jsonl" for split in OF_STAGE[self.stage]]
        return {
            "stage": self.stage,
            "model": model_sha256(model_directory(self.model, self.revision)),
            "data": {path.name: sha256(path) for path in files if path.exists()},
            "seed": self.seed,
            "settings": plain(self.settings),
            "processes": [self.scale.world, self.scale.sharding],
            "code": code_sha256(),
        }

    def with_micro_batch(self, size: int) -> "Job":
        """The same job with `size` rows per forward pass; the rows per step stay."""
        return dataclasses.replace(self, settings=replace(self.settings, micro_batch_size=size))


def screened(place: Path) -> list[Path]:
    """The files of a place in which each process of a screening wrote its share; empty unless all are there."""
    for path in place.glob("screen-0-of-*.jsonl"):
        count = int(path.stem.rpartition("-")[2])
        parts = [place / f"screen-{rank}-of-{count}.jsonl" for rank in range(count)]
        if all(part.exists() for part in parts):
            return parts
    return []
