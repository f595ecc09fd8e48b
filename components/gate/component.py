"""The KFP component of gate."""

from kfp import dsl

from components.lib.cluster import images


@dsl.component(base_image=images.data(), install_kfp_package=False)
def gate(
    registry: str, run_id: str, settings: str, base: dsl.Input[dsl.Dataset], candidate: dsl.Input[dsl.Dataset],
    decision: dsl.Output[dsl.Artifact], curves: dsl.Input[dsl.Dataset] = None,  # type: ignore[assignment]
) -> str:  # fmt: skip
    """Decide on the gate split whether the candidate, `curves` those of its GRPO, is better: promote or reject."""
    from components.lib.registry.record import recorded

    with recorded(registry, run_id, "gate", decision.uri) as record:
        from pathlib import Path

        from components.gate.gate import run_gate
        from components.lib.recipe.schema import Gate
        from components.lib.recipe.settings import from_json

        outcome = run_gate(
            base=Path(base.path), candidate=Path(candidate.path), registry=registry, settings=from_json(Gate, settings),
            decision_out=Path(decision.path), curves=Path(curves.path) if curves else None,
        )  # fmt: skip
        record.numbers, record.result = outcome.scalars, outcome.reason
        record.details = {"promoted": outcome.promote, "forced": outcome.numbers["forced"]}
    return "promote" if outcome.promote else "reject"
