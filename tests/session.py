"""How a run of the tests goes: the longest files first, and a last line that says what was not tested."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

# The longest files first, as measured, so that neither of two processes is left with one of them at the end.
LONGEST = (
    "pipeline/test_quarter.py", "lib/training/test_distributed.py", "lib/training/test_survival.py",
    "pipeline/test_smollm2.py", "pipeline/test_endings.py", "pipeline/test_resume.py", "pipeline/test_demo.py",
    "pipeline/test_hub_recipe.py", "pipeline/test_stages.py", "pipeline/test_end_to_end.py",
)  # fmt: skip
# How `-m` leaves tests out, or a skip reason begins -> what was not tested, with the command that would.
UNTESTED = {
    "not slow": "what takes long (make test-slow)",
    "not fault": "what goes wrong (make test-faults)",
    "not release": "the demo with more seeds (make test-demo)",
    "not docker": "containers (make image TRAINER=slim test-docker)",
    "not cluster": "a cluster (make test-cluster)",
    "not gpu": "a GPU (.venv/bin/python -m pytest -m gpu)",
    "slow and": "what is quick (make test)",
    "fault and": "what goes right (make test test-slow)",
    "needs the right to mount": "full and read-only volumes (as root)",
    "needs MinIO": "S3 (make minio)",
    "needs the trackers": "live metrics (make live)",
    "needs the real GSM8K": "real rows (GRPO_TEST_DATA=DIRECTORY with gsm8k/train.jsonl and test.jsonl)",
}
FETCHED = ("Skipped: needs MinIO", "Skipped: needs the trackers")  # what CI gets itself


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring the longest files to the front."""
    folder = Path(__file__).parent
    place = {folder / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """In CI, where everything that `make` can fetch was to be fetched, its absence is a failure."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and report.longrepr[2].startswith(FETCHED):
        report.outcome, report.longrepr = "failed", report.longrepr[2]
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Say in the very last line what was not tested, and what would test it."""
    result = yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter and not hasattr(session.config, "workerinput"):
        reasons = [report.longrepr[2] for report in reporter.stats.get("skipped", ())]
        if untested := not_tested(session.config.option.markexpr, reasons):
            reporter.write_line(f"Not tested here: {', '.join(untested)}.")
    return result


def not_tested(selection: str, reasons: list[str]) -> list[str]:
    """What the expression of `-m` and the reasons of skipped tests leave out, each once.

    A reason reads "Skipped: needs THIS: that is not done"; one that UNTESTED does not know is told by its first half.
    """
    found = {text: None for part, text in UNTESTED.items() if re.search(rf"(?<!not ){part}", selection)}
    for reason in reasons:
        known = (text for part, text in UNTESTED.items() if reason.startswith(f"Skipped: {part}"))
        found[next(known, "what " + reason.removeprefix("Skipped: ").partition(":")[0])] = None
    return list(found)
