"""UTF-8 whatever the locale: what is printed and written, by the commands and by KFP's processes."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from components.lib.files import read_json, read_jsonl, write_jsonl
from components.lib.registry.outcome import read_outcomes
from components.lib.registry.store import open_store
from tests import ROOT
from tests.fixtures.rows import good, write
from tests.lib.data.test_teacher import _Server

TEXT = "größer → 東京"
LOCALES = {
    "ASCII": {"LC_ALL": "C", "PYTHONUTF8": "0"},
    "Latin-1": {"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0", "LC_ALL": "C"},
    "Latin-1 output": {"PYTHONIOENCODING": "latin-1"},
}


@pytest.fixture(params=LOCALES)
def spoken(request: pytest.FixtureRequest) -> dict[str, str]:
    return os.environ | LOCALES[request.param]


def python(*command: str, env: dict[str, str], status: int = 0) -> tuple[str, str]:
    """What a command prints on both streams, as UTF-8."""
    done = subprocess.run([sys.executable, *command], cwd=ROOT, env=env, capture_output=True, timeout=120)
    out, errors = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == status, errors
    return out, errors


@pytest.mark.fault("the locale is ASCII or Latin-1, and a text is neither")
def test_score_writes_utf8_into_a_pipe(tmp_path: Path, spoken, seen) -> None:
    row = {"completion": f"{TEXT}\n#### 4", "gold": "4", "name": TEXT}
    write_jsonl(tmp_path / "größe.jsonl", [row])
    out, errors = python("pipeline.py", "score", str(tmp_path / "größe.jsonl"), env=spoken)
    assert json.loads(out)["name"] == TEXT and json.loads(out)["correct"] and TEXT in out
    seen(errors)


@pytest.mark.fault("a question is half a character, or its source has a name that the locale cannot spell")
def test_a_step_of_its_own_prints_and_writes_every_text(tmp_path: Path, spoken, seen) -> None:
    rows = good("gsm8k", 4)
    rows[1]["question"] = f"{TEXT} \ud83d"
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    sources = [{"path": str(tmp_path / "rows.jsonl"), "name": TEXT, "adapter": "gsm8k"}]
    (tmp_path / "sources.json").write_text(json.dumps(sources), encoding="utf-8")
    test = write(tmp_path / "test.jsonl", good("gsm8k", 3, seed=5))
    out, _ = python("-m", "components.standardize", "--sources", str(tmp_path / "sources.json"), "--evaluation", test,
                    "--output", str(tmp_path / "out"), env=spoken)  # fmt: skip
    said = next(line for line in out.splitlines() if line.startswith(f"standardize: {TEXT} for problems: 4 rows"))
    assert "lone-surrogate" in said and TEXT in (tmp_path / "out" / "summary.md").read_text(encoding="utf-8")
    seen(said)


@pytest.mark.fault("a teacher's answer has what the locale cannot spell, and half a character")
def test_the_teacher_keeps_an_answer_that_was_paid_for(tmp_path: Path, spoken, seen) -> None:
    pytest.importorskip("openai", reason="needs openai: no teacher is asked")
    problems, output = tmp_path / "problems.jsonl", tmp_path / f"{TEXT}.jsonl"
    write_jsonl(problems, [{"id": "a", "question": TEXT, "gold": "4"}, {"id": "b", "question": "half", "gold": "4"}])
    asked = ["--model", TEXT, "--problems", str(problems), "--output", str(output), "--samples", "1", "--max-tokens",
             "9", "--requests-per-minute", "1e6", "--workers", "1"]  # fmt: skip
    with _Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        server.answers |= {TEXT: (TEXT, "#### 4"), "half": ("cut \ud83d", "#### 4")}
        out, _ = python("pipeline.py", "teach", "--url", server.url, *asked, env=spoken | {"TEACHER_API_KEY": "secret"})
        server.shutdown()
    whole, half = read_jsonl(output)
    assert TEXT in whole["messages"][2]["content"] and whole["teacher"] == TEXT
    assert "cut \ud83d" in half["messages"][2]["content"], "standardize refuses it, with the reason"
    assert f"2 right traces were added to {output}, 0 were refused" in out
    seen(out.splitlines()[-1])


@pytest.mark.fault("a run's step fails with a message that the locale cannot spell")
def test_a_run_through_kfp_tells_it_all_the_same(tmp_path: Path, seen) -> None:
    out, _ = python("pipeline.py", "run", "--recipe", "tiny", "--output", str(tmp_path / TEXT), "--set",
                    f"model={TEXT}", env=os.environ | LOCALES["Latin-1"], status=1)  # fmt: skip
    told = f"model '{TEXT}' is neither a directory here nor a Hub id, nor 'tiny'"
    (outcome,) = read_outcomes(open_store(str(tmp_path / TEXT / "registry")))
    assert told in out and told in outcome.sentence
    assert told in (tmp_path / TEXT / "run.log").read_text(encoding="utf-8")
    assert read_json(tmp_path / TEXT / "summary.json")["ending"] == "failed"
    seen(out.splitlines()[-1])
