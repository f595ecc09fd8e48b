"""Outcomes of runs as the exit handler writes them, and a quarter of them for the history."""

from datetime import UTC, datetime, timedelta
from typing import Any

from components.compare.statistics import wilson
from components.outcome import Outcome, write_outcome
from components.store import Store

FIRST = datetime(2026, 1, 4, 3, tzinfo=UTC)


def outcome(run_id: str, **changes: Any) -> Outcome:
    """A rejected run of an hour; `changes` are its fields, and `right` of 1,319 evaluation problems."""
    right = changes.pop("right", None)
    ended = datetime.fromisoformat(changes.get("ended", FIRST.isoformat()))
    base: dict[str, Any] = {
        "run_id": run_id, "recipe": "qwen3.5-0.8b", "ending": "rejected", "sentence": f"{run_id} was rejected",
        "failed_step": None, "log": [], "started": (ended - timedelta(hours=1)).isoformat(), "ended": ended.isoformat(),
        "seconds": {"grpo": 3000.0, "push": 0.5}, "numbers": {}, "results": [], "gpu_hours": 0.0, "fingerprint": "",
        "inputs": "", "version": "", "champion": "", "artifacts": "", "cleaned": False,
    }  # fmt: skip
    if right is not None:
        base["results"] = [row("base", 687), row("grpo", right), row("base", 705, "8-shot"), row("grpo", 1, "8-shot")]
    return Outcome(**(base | changes))


def row(checkpoint: str, right: int, protocol: str = "zero-shot", n: int = 1319) -> dict[str, Any]:
    """One checkpoint's result."""
    interval = list(wilson(right, n, 0.95))
    return {"checkpoint": checkpoint, "protocol": protocol, "n": n, "correct": right, "accuracy": right / n,
            "interval": interval}  # fmt: skip


def write_quarter(store: Store) -> None:
    """Thirteen weeks: three champions, a crash, a week without news, a regression."""
    weeks: list[tuple[str, int | None]] = [
        ("promoted", 765), ("rejected", 771), ("no-change", None), ("promoted", 822), ("failed", None),
        ("rejected", 817), ("rejected", 640), ("rejected", 830), ("promoted", 861), ("rejected", 866),
        ("failed", 901), ("rejected", 858), ("no-change", None),
    ]  # fmt: skip
    champions: list[dict[str, Any]] = []
    for number, (ending, right) in enumerate(weeks, 1):
        ended = FIRST + timedelta(weeks=number, hours=5 * (right is not None))
        if ending == "promoted":
            champions.append({"version": f"v{number:012x}", "run_id": f"week-{number:02}",
                              "promoted_at": ended.isoformat()})  # fmt: skip
        changes: dict[str, Any] = {"failed_step": "grpo" if right is None else "push"} if ending == "failed" else {}
        if right is not None:
            changes |= {
                "right": right,
                "gpu_hours": 4.8,
                "numbers": {"compare": {"rows": 9000, "new_rows": 40 * number}},
            }
        version = champions[-1]["version"] if champions else ""
        write_outcome(
            store,
            outcome(f"week-{number:02}", ending=ending, ended=ended.isoformat(), champion=version,
                    version=version if ending == "promoted" else "", **changes),
        )  # fmt: skip
    store.write_json("champion.json", {**champions[-1], "former": champions[:-1]})
