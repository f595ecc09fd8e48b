"""The KFP component of preflight: the one step that takes every run parameter."""

from kfp import dsl

from components.lib.cluster import images


@dsl.component(base_image=images.data(), install_kfp_package=False)
def preflight(
    run_id: str,
    recipe: str,
    model: str,
    revision: str,
    registry: str,
    seed: int,
    always: bool,
    sft_learning_rate: float,
    sft_epochs: float,
    grpo_learning_rate: float,
    grpo_max_steps: int,
    grpo_prompts_per_step: int,
    grpo_generations: int,
    grpo_max_new_tokens: int,
    grpo_beta: float,
    evaluate_problems: int,
    evaluate_max_new_tokens: int,
    evaluate_samples: int,
    gate_margin: float,
    gate_force: bool,
    push_hub_repo: str,
    push_private: bool,
    merged: dsl.OutputPath(str),  # type: ignore[valid-type]
    rows: dsl.OutputPath(str),  # type: ignore[valid-type]
    fingerprint: dsl.OutputPath(str),  # type: ignore[valid-type]
    champion: dsl.OutputPath(str),  # type: ignore[valid-type]
    sample: dsl.OutputPath(str),  # type: ignore[valid-type]
    standardize: dsl.OutputPath(str),  # type: ignore[valid-type]
    sft: dsl.OutputPath(str),  # type: ignore[valid-type]
    grpo: dsl.OutputPath(str),  # type: ignore[valid-type]
    training: dsl.OutputPath(str),  # type: ignore[valid-type]
    scale: dsl.OutputPath(str),  # type: ignore[valid-type]
    evaluate: dsl.OutputPath(str),  # type: ignore[valid-type]
    gate: dsl.OutputPath(str),  # type: ignore[valid-type]
    push: dsl.OutputPath(str),  # type: ignore[valid-type]
) -> str:
    """Check everything, give each step its settings, and return the plan, empty if nothing has changed."""
    given = dict(locals())
    from pathlib import Path

    from components.lib.recipe.recipes import PARAMETERS
    from components.preflight.preflight import OUTPUTS, run_preflight

    return run_preflight(
        run_id=run_id, recipe=recipe, artifact=merged, parameters={name: given[name] for name in PARAMETERS},
        outputs={name: Path(given[name]) for name in OUTPUTS},
    )  # fmt: skip
