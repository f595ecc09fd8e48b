"""The tests that provoke faults say what they saw; README's list of them is what they provoke."""

import ast
import re

from tests import ROOT


def marked():
    """(file, name, arguments) of every test that is marked as a fault."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and any("mark.fault" in ast.unparse(d) for d in node.decorator_list):
                yield path.relative_to(ROOT / "tests"), node.name, {argument.arg for argument in node.args.args}


def test_every_provoked_fault_says_what_was_seen():
    found = list(marked())
    assert len(found) > 20
    assert [f"{path}: {name}" for path, name, arguments in found if "seen" not in arguments] == []


def test_what_the_readme_says_it_survives_is_provoked():
    """Each line of that list ends in the test files that provoke it."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## It survives")[2].partition("\n## ")[0]
    named = set(re.findall(r"\(tests/([\w/.]+\.py)\)|tests/([\w/.]+\.py)", section))
    files = {first or second for first, second in named}
    assert files and files <= {str(path) for path, _, _ in marked()}
