"""How a model was made, from the records of the steps: machines, packages, GPU-hours, for the provenance."""

from collections.abc import Sequence
from typing import Any

from components.lib import machine
from components.lib.registry.base import Store
from components.lib.registry.outcome import gpu_hours, read_outcomes
from components.lib.registry.record import StepRecord, read_records


def origin_of(store: Store, run_id: str, fingerprint: str, stages: Sequence[str]) -> dict[str, Any]:
    """What the steps of a run say of themselves, those before the push.

    A step that KFP's cache has spared this run has its record in an earlier run of the same fingerprint;
    `steps_of_other_runs` names that, and `steps_without_record` those of which nothing is known.
    """
    records = {record["step"]: record for record in _done(store, run_id)}
    others: dict[str, str] = {}
    for outcome in reversed(read_outcomes(store)):
        if outcome.fingerprint == fingerprint and outcome.run_id != run_id:
            for record in _done(store, outcome.run_id):
                if records.setdefault(record["step"], record) is record:
                    others[record["step"]] = outcome.run_id
    evaluations = [f"evaluate-{name}" for name in ("base", *stages)]
    expected = ["preflight", "standardize", *stages, *evaluations, "compare", "gate"]
    machines = {step: dict(record.get("machine") or {}) for step, record in records.items()}
    packages = {step: found.pop("packages", None) for step, found in machines.items()}
    return {
        "seconds": {step: record["seconds"] for step, record in records.items()},
        "gpu_hours": gpu_hours(list(records.values())),
        "gpus": sorted({gpu for found in machines.values() for gpu in found.get("gpus", [])}),
        "steps": {step: record["details"] for step, record in records.items() if record.get("details")},
        "machines": machines,
        "packages_of_training": next(
            (found for step in (*stages[::-1], *packages) if (found := packages.get(step))), {}
        ),
        "packages_of_push": machine.packages(),
        "commit": machine.commit(),
        "steps_of_other_runs": others,
        "steps_without_record": [step for step in expected if step not in records],
    }


def _done(store: Store, run_id: str) -> list[StepRecord]:
    """The records of a run's steps that ended well, but that of a push."""
    found = read_records(store, run_id)
    return [record for record in found if record["outcome"] == "succeeded" and record["step"] != "push"]
