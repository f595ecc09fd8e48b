"""The champion on the gate problems, measured anew where its kept answers are to other problems, prompts or sampling.

This happens in the step that evaluates the candidate, which has a GPU already; when nothing has changed it costs the
fetching of one small file. By hand: `python -m components.evaluate.champion --help`.
"""

import gc
import sys
import tempfile
from pathlib import Path

from components.evaluate.evaluate import evaluate
from components.lib import command
from components.lib.answers.judging import DECIDING, MEASURED, champion_mismatch
from components.lib.files import write_json
from components.lib.recipe import schema
from components.lib.recipe.settings import replace
from components.lib.registry.champion import read_champion
from components.lib.registry.store import open_store


def measure_champion(
    *, version: str, registry: str, candidate: Path, data: Path, checkpoints: Path | None, seed: int,
    settings: schema.Evaluate,
) -> dict[str, float]:  # fmt: skip
    """Write `candidate`/champion/ (items.jsonl, champion.json) if the champion's kept answers cannot be compared.

    `candidate` is the directory that `evaluate` has just written of the candidate, `version` the champion that
    preflight saw. Returns the champion's numbers, none if its kept answers do. `ValueError` if the registry has
    another champion by now.
    """
    store = open_store(registry)
    champion = read_champion(store)
    if champion.get("version") != version:
        raise ValueError(f"{version} is not the champion of {store.url('')} any more; run again from preflight")
    with tempfile.TemporaryDirectory() as directory:
        kept, model = Path(directory, "gate.jsonl"), Path(directory, "model")
        store.get_file(champion["items"], kept)
        why = champion_mismatch(candidate, kept)
        if not why:
            print(f"champion {version} has answered the same gate problems already", flush=True)
            return {}
        print(f"champion {version} is measured anew: {why}", flush=True)
        store.get_tree(f"models/{version}", model)
        gc.collect()  # the candidate's engine lets go of its GPU when it is collected
        out = candidate / MEASURED
        only_gate = replace(settings, protocols=(), gate_protocols=(DECIDING,))
        numbers = evaluate(
            model=str(model), revision="", checkpoint="champion", data=data, out=out, checkpoints=checkpoints,
            seed=seed, settings=only_gate,
        )  # fmt: skip
    write_json(out / "champion.json", {"version": version, "why": why})
    return {f"champion/{name}": value for name, value in numbers.items()}


if __name__ == "__main__":
    sys.exit(command.main("evaluate", measure_champion))
