"""What `doctor` finds from inside a Pod, and how it says it."""

import json
import os
import subprocess
import sys

import pytest

from components.cluster import probe
from components.cluster.doctor import Line
from tests.hub_server import HubServer


def test_directories_that_can_be_written_and_not(tmp_path, capsys):
    assert probe.main(["write", str(tmp_path)]) == 0
    assert "writable, " in capsys.readouterr().out and not list(tmp_path.iterdir())
    assert probe.main(["write", str(tmp_path), str(tmp_path / "missing")]) == 1
    assert "cannot write there: No such file" in capsys.readouterr().out


def test_findings_are_json_lines(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    assert probe.main(["look", str(tmp_path), "--registry", str(tmp_path / "registry")]) == 0
    found = {line["check"]: line["ok"] for line in map(json.loads, capsys.readouterr().out.splitlines())}
    assert found == {"image": True, f"volume {tmp_path}": True, "registry": True, "hub token": True}


@pytest.mark.parametrize(
    ("token", "ok", "said"),
    [("hf_write", True, "of tester, role write"), ("hf_wrong", False, "the Hub refuses it: ")],
)
def test_the_hub_is_asked_about_the_token(tmp_path, token, ok, said):
    command = [sys.executable, "-m", "components.cluster.probe", "look", "--registry", str(tmp_path / "registry")]
    with HubServer() as hub:
        environment = {**os.environ, **hub.environment(tmp_path, token)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    (finding,) = [line for line in map(json.loads, done.stdout.splitlines()) if line["check"] == "hub token"]
    assert finding["ok"] == ok and said in finding["detail"]


def test_a_token_cannot_be_checked_where_the_hub_does_not_answer(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    finding = probe.hub()
    assert not finding["ok"] and "the Hub does not answer" in finding["detail"]


def test_a_line_shows_the_mend_only_where_something_is_wrong():
    assert str(Line(True, "gpu", "fine", "do this")) == "ok     gpu: fine"
    assert str(Line(False, "gpu", "none", "do this")).splitlines() == ["WRONG  gpu: none", "       mend: do this"]
