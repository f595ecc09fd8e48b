"""What must start quickly imports nothing heavy, not even by way of what it imports."""

import resource
import subprocess
import sys

from tests import ROOT

HEAVY = ("torch", "transformers", "trl", "datasets")
VERBS = """
import sys, pipeline
try: pipeline.main(sys.argv[1:])
except SystemExit: pass
"""
# Some 0.15 s on the machine on which this was written; `import kfp` alone would take 1 s, and torch 3 s.
HELP_CPU_SECONDS = 0.5


def loaded(code, *arguments):
    """The heavy packages in sys.modules after `code` has run in a process of its own."""
    code += f"\nimport sys; print('loaded:', *(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.rpartition("loaded:")[2].split()


def test_help_loads_nothing_heavy():
    assert loaded(VERBS, "--help") == []


def test_compiling_loads_nothing_heavy(tmp_path):
    assert loaded(VERBS, "compile", "--output", str(tmp_path / "pipeline.yaml")) == []
    assert (tmp_path / "pipeline.yaml").exists()


def test_the_components_load_nothing_heavy():
    steps = sorted(path.parent.name for path in ROOT.glob("components/*/component.py"))
    assert len(steps) == 10 and loaded("\n".join(f"import components.{step}.component" for step in steps)) == []


def test_help_answers_at_once():
    """The least CPU time of three, so that other work on the machine hardly counts."""

    def spent():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "pipeline.py", "--help"], cwd=ROOT, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(spent() for _ in range(3)) < HELP_CPU_SECONDS
