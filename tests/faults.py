"""The provoked faults: `make test-faults` runs the tests marked `fault` and prints what was seen and what was lost.

A test says its fault in the marker, and what it saw by calling the fixture `seen`:

    @pytest.mark.fault("the trainer is killed by the kernel")
    def test_...(seen): ...; seen("its process was killed by SIGKILL; it is started again from its newest checkpoint")
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tabulate import tabulate

HEADERS = ("fault", "what was seen", "what was lost")
WIDTHS = (44, 84, 24)  # of the columns, in characters


@pytest.fixture
def seen(request: pytest.FixtureRequest) -> Iterator[Callable[..., None]]:
    """Call it with the line that a user saw, and with what was lost if that is not nothing; it makes a table's row.

    `fault` names the fault of one case of a parametrized test. The test fails if it never says what it saw.
    """
    marker = request.node.get_closest_marker("fault")
    assert marker, f"{request.node.nodeid} says what it saw but is not marked as a fault"
    told: list[str] = []

    def tell(text: str, *, lost: str = "nothing", fault: str = "") -> None:
        assert text.strip(), "nothing was seen"
        told.append(fault or marker.args[0])
        request.node.user_properties.append(("fault", (told[-1], _shown(text), lost)))

    yield tell
    if not hasattr(request.node, "failed"):
        assert told, f"{request.node.nodeid} never says what was seen"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    """Remember that a test failed or was skipped, so that `seen` does not add a second failure."""
    report = yield
    if call.when == "call" and not report.passed:
        item.failed = True  # type: ignore[attr-defined]
    return report


def pytest_terminal_summary(terminalreporter) -> None:
    """Print the table, if the faults were asked for with `-m`."""
    expression = terminalreporter.config.option.markexpr
    if not re.search(r"(?<!not )\bfault\b", expression):
        return
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.stats.get(outcome, ())]
    rows = sorted({tuple(row) for report in reports for name, row in report.user_properties if name == "fault"})
    table = tabulate(rows, HEADERS, tablefmt="simple_grid", maxcolwidths=list(WIDTHS))
    terminalreporter.write_line(f"{table}\n{len(rows)} faults were provoked.")


def marked() -> set[str]:
    """The faults that the tests name in their markers."""
    sources = Path(__file__).parent.rglob("test_*.py")
    return {text for path in sources for text in re.findall(r'mark\.fault\(\s*"([^"]+)"', path.read_text("utf-8"))}


def _shown(text: str) -> str:
    """One line without colours, paths of temporary folders cut to their last two parts."""
    line = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())
    return re.sub(r"(/[\w.+-]+){3,}(/[\w.+-]+/[\w.+-]+)", r"...\2", line)
