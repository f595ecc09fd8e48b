"""`python -m benchmarks.gpu`: every part runs with nothing but what a bare machine has and what is carried there."""

import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from benchmarks.gpu import packages
from benchmarks.gpu.__main__ import PARTS, Result, table
from tests import ROOT

MACHINE = (Path(__file__).parent / "machine.txt").read_text("utf-8").split()
PARTS_OF_TORCH = ("nvidia-", "cuda-")  # the wheels that bring CUDA


@pytest.fixture
def stripped(tmp_path):
    """A directory for PYTHONPATH with the packages of that machine and the carried ones, and no others."""
    site = tmp_path / "site-packages"
    site.mkdir()
    here = [line.partition("==")[0] for line in (ROOT / "requirements.lock").read_text("utf-8").splitlines()]
    for name in {*MACHINE, *packages.CARRIED, *(name for name in here if name.startswith(PARTS_OF_TORCH))}:
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue  # the fast kernels are not for a CPU
        for first in {path.parts[0] for path in found.files or ()} - {"..", "__pycache__"}:
            if not (site / first).exists():
                (site / first).symlink_to(Path(str(found.locate_file(first))))
    return site


@pytest.mark.slow
def test_every_part_runs_with_what_a_bare_machine_has(stripped, tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment["PYTHONPATH"] = os.pathsep.join(map(str, (stripped, ROOT)))
    command = [sys._base_executable, "-s", "-m", "benchmarks.gpu", "--device", "cpu", "--output", tmp_path / "gpu.md"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8")
    results = {row["part"]: row for row in map(json.loads, filter(lambda x: x[:1] == "{", done.stdout.splitlines()))}
    assert list(results) == ["machine", *(part.name for part in PARTS)]
    wrong = {part: row["error"] for part, row in results.items() if row["status"] != "done" or not row["rows"]}
    assert not wrong and done.returncode == 0, (wrong, done.stderr)
    equal = [row["equal"] for row in results["decoding"]["rows"] if "equal" in row]
    assert equal == ["192 of 192"]
    written = (tmp_path / "gpu.md").read_text("utf-8")
    assert all(f"| {part.name} | " in written for part in PARTS)


def test_the_table_says_what_failed_and_what_was_not_run():
    results = [
        Result("step", "done", 3.0, [{"what": "256 completions", "step_s": 1.5}], remark="timing only"),
        Result("passes", "out of time", 90.0, [{"what": "micro-batch 8", "ms": 7}], "tuning | kernels (status None)"),
        Result("capped"),
    ]
    text = table(results, {"card": "H100", "torch": "torch 2.11", "triton": "Triton 3.6", "kernels": "fla"})
    assert text.startswith("H100, torch 2.11, Triton 3.6, fla, commit ")
    assert "| step | 256 completions | step_s 1.5 | timing only |\n" in text
    assert "| passes | micro-batch 8 | ms 7 |  |\n| passes | | out of time | tuning / kernels (status None) |\n" in text
    assert "| capped | | not run |  |\n" in text


def test_what_is_carried_comes_from_the_locks_with_hashes():
    text = packages.locked(packages.CARRIED)
    assert text.count("==") == len(packages.CARRIED) and "transformers==5.23.0 \\\n    --hash=sha256:" in text
    with pytest.raises(ValueError, match="no lock file names nonsense"):
        packages.locked(("trl", "nonsense"))


def test_too_much_to_carry_is_refused(tmp_path):
    with (tmp_path / "big.whl").open("wb") as file:
        file.truncate((packages.MOST_MIB + 1) * packages.MIB)
    with pytest.raises(ValueError, match=r"holds 56.0 MiB, more than 55: big.whl 56.0"):
        packages.size_mib(tmp_path)


def test_the_check_is_taken_out_of_a_copy_alone(tmp_path):
    place = tmp_path / "site/fla/ops/common/chunk_o.py"
    place.parent.mkdir(parents=True)
    place.write_text(f"    {packages.CHECK}\n        raise\n", "utf-8")
    packages.without_check(tmp_path / "site", tmp_path / "copy")
    assert (tmp_path / "copy/fla/ops/common/chunk_o.py").read_text("utf-8") == "    if False:\n        raise\n"
    place.write_text("    if other:\n", "utf-8")
    with pytest.raises(ValueError, match="does not hold the check"):
        packages.without_check(tmp_path / "site", tmp_path / "second")
