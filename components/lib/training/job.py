"""One training to be done, how it travels to the process that does it, and what that says at its end. No torch."""

import dataclasses
import json
import os
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from components.lib.data.splits import OF_STAGE
from components.lib.files import code_sha256, naming, new_file, read_json, sha256, write_json
from components.lib.model.files import model_directory, model_sha256
from components.lib.recipe.schema import Grpo, Scale, Sft, Training
from components.lib.recipe.settings import from_dict, plain, replace

SCREENED = "screen_seconds"  # among the numbers of GRPO: how long its problems were screened
RESULT = "result.json"

NOT_TRAINING = ("sample", "standardize", "evaluate", "lib/data", "lib/tiny", "lib/recipe")  # of the code
SETTINGS: dict[str, type[Sft] | type[Grpo]] = {"sft": Sft, "grpo": Grpo}
# By stage and task, the function that a worker calls with the job; `train` returns the numbers to log. They are names
# because the parent imports no torch, and because this library stands below the steps and imports none.
TASKS = {
    ("sft", "train"): "components.sft.train:train",
    ("grpo", "screen"): "components.grpo.screen:screen",
    ("grpo", "train"): "components.grpo.train:train",
}


@dataclass(frozen=True, kw_only=True)
class Job:
    """A training: `model` (directory, `tiny` or Hub id at `revision`) on the files of `data`.

    Everything that it leaves lies in `directory`, which lib/training/checkpoints.py describes.
    """

    stage: str
    model: str
    revision: str
    data: Path
    directory: Path
    seed: int
    settings: Any  # Sft or Grpo, by `stage`
    training: Training
    scale: Scale
    task: str = "train"  # or another one of the stage
    resume: str = ""  # the checkpoint to go on from
    candidate: str = "last"  # which weights GRPO hands on: the recipe's gate_candidate

    def text(self) -> str:
        """The job as one line of JSON."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        settings = {name: plain(values[name]) for name in ("settings", "training", "scale")}
        return json.dumps(values | settings, default=str)

    @staticmethod
    def read(text: str) -> "Job":
        """The job from its text."""
        values = json.loads(text)
        values["settings"] = from_dict(SETTINGS[values["stage"]], values["settings"])
        values["training"], values["scale"] = from_dict(Training, values["training"]), from_dict(Scale, values["scale"])
        return Job(**values | {name: Path(values[name]) for name in ("data", "directory")})

    def inputs(self) -> dict[str, Any]:
        """All that decides the result: model, data, seed, settings and code; the key of its checkpoints.

        Code that made the model and the data, or evaluates, does not count: what it made is here by its content.
        """
        files = [self.data / f"{split}.jsonl" for split in OF_STAGE[self.stage]]
        return {
            "stage": self.stage,
            "model": model_sha256(model_directory(self.model, self.revision)),
            "data": {path.name: sha256(path) for path in files if path.exists()},
            "seed": self.seed,
            "settings": plain(self.settings),
            "candidate": self.candidate,
            "processes": [self.scale.world, self.scale.sharding],
            "code": code_sha256(*NOT_TRAINING, *(other for other in SETTINGS if other != self.stage)),
        }

    def fitted(self, sizes: dict[str, int]) -> "Job":
        """The same job with other `sizes` (setting -> value) of what goes together; the rows per step stay."""
        return dataclasses.replace(self, settings=replace(self.settings, **sizes))


class Status(StrEnum):
    """How an attempt to do a job ended."""

    DONE = "done"
    INVALID = "invalid"  # the user can change what is wrong
    NOT_FINITE = "not finite"
    OUT_OF_MEMORY = "out of memory"
    KILLED = "killed"  # without a word, where there is no GPU: most likely because memory ran out
    LOST = "lost"  # its device, its Pod or one of its processes is gone
    TERMINATED = "terminated"  # it was told to end
    FAILED = "failed"  # of anything else


@dataclass(frozen=True)
class Result:
    """What an attempt says at its end, as result.json in the training's directory."""

    status: Status
    message: str = ""
    numbers: dict[str, float] = field(default_factory=dict)  # to log, once it is done

    @staticmethod
    def read(directory: Path) -> "Result | None":
        """What was said in this directory, if anything."""
        try:
            values = read_json(directory / RESULT)
            return Result(**values | {"status": Status(values["status"])})
        except (FileNotFoundError, ValueError):  # a word that was cut off by a crash of the machine is none
            return None

    def write(self, directory: Path) -> None:
        """Say it; of several processes that give up the first one is heard, and `done` stands above all."""
        if self.status is Status.DONE:
            write_json(directory / RESULT, asdict(self))
            return
        path = directory / RESULT
        with naming(path), new_file(directory, f".{RESULT}.") as part:
            part.write_text(json.dumps(asdict(self)), encoding="utf-8")
            try:
                os.link(part, path)
            except OSError:  # it is there, or this file system has no hard links
                if not path.exists():
                    os.replace(part, path)


def screened(directory: Path) -> list[Path]:
    """The files in which each process of a screening wrote its share; empty unless all are there."""
    for path in directory.glob("screen-0-of-*.jsonl"):
        count = int(path.stem.rpartition("-")[2])
        parts = [directory / f"screen-{rank}-of-{count}.jsonl" for rank in range(count)]
        if all(part.exists() for part in parts):
            return parts
    return []
