"""The run record: what each step leaves, also if it is killed."""

import json
import threading
import time

import pytest

from components.lib.registry import record as record_module
from components.lib.registry.directory import DirectoryStore
from components.lib.registry.record import read_records, record_key, recorded, redact
from components.lib.registry.store import open_store


def test_a_good_step_leaves_numbers_result_and_log(tmp_path):
    with recorded(str(tmp_path), "r1", "sft") as record:
        print("step 1 loss 0.5")
        record.numbers = {"loss": 0.5}
        record.result = "learned"
    (found,) = read_records(open_store(str(tmp_path)), "r1")
    assert found["outcome"] == "succeeded" and found["result"] == "learned"
    assert found["log"] == ["step 1 loss 0.5"] and found["numbers"] == {"loss": 0.5}
    assert found["seconds"] >= 0


def test_a_failing_step_leaves_the_reason_and_raises(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecret")
    with pytest.raises(RuntimeError), recorded(str(tmp_path), "r1", "grpo"):
        print("about to fail with hf_secretsecret")
        raise RuntimeError("no memory for hf_secretsecret")
    (found,) = read_records(open_store(str(tmp_path)), "r1")
    assert found["outcome"] == "failed" and found["error"] == "RuntimeError: no memory for <HF_TOKEN>"
    assert "about to fail with <HF_TOKEN>" in found["log"]
    assert "hf_secretsecret" not in json.dumps(found)


def test_details_are_struck_out_too(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecret")
    with recorded(str(tmp_path), "r1", "push") as record:
        record.details = {"url": ["https://hf_secretsecret@host"], "rows": 3, "forced": None}
    (found,) = read_records(open_store(str(tmp_path)), "r1")
    assert found["details"] == {"url": ["https://<HF_TOKEN>@host"], "rows": 3, "forced": None}


def test_a_step_that_is_running_is_on_record(tmp_path):
    with recorded(str(tmp_path), "r1", "grpo"):
        assert open_store(str(tmp_path)).read_json(record_key("r1", "grpo"))["outcome"] == "running"


def test_redact_leaves_short_and_harmless_values():
    environment = {"MY_TOKEN": "abc", "HOME": "/somewhere", "API_KEY": "0123456789"}
    assert redact("abc /somewhere 0123456789", environment) == "abc /somewhere <API_KEY>"


def test_a_running_step_shows_that_it_lives_and_what_it_prints(tmp_path, monkeypatch):
    """A kill leaves what the last sign of life said."""
    monkeypatch.setattr(record_module, "BEAT_S", 0.02)
    store = open_store(str(tmp_path))
    with recorded(str(tmp_path), "r1", "grpo"):
        first = store.read_json(record_key("r1", "grpo"))
        print("step 7/60")
        deadline = time.monotonic() + 10
        while (found := store.read_json(record_key("r1", "grpo")))["log"] != ["step 7/60"]:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert found["outcome"] == "running" and found["seen"] > first["seen"]
    time.sleep(0.1)
    assert store.read_json(record_key("r1", "grpo"))["outcome"] == "succeeded", "no beat comes after the end"


def test_a_registry_that_is_away_for_a_while_does_not_end_a_step(tmp_path, monkeypatch):
    monkeypatch.setattr(record_module, "BEAT_S", 0.01)
    write, tries = DirectoryStore.write, []

    def away(self, key, data):
        if threading.current_thread() is not threading.main_thread():
            tries.append(key)
            raise ConnectionError("no answer")
        write(self, key, data)

    monkeypatch.setattr(DirectoryStore, "write", away)
    with recorded(str(tmp_path), "r1", "sft"):
        deadline = time.monotonic() + 10
        while len(tries) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert len(tries) >= 3 and read_records(open_store(str(tmp_path)), "r1")[0]["outcome"] == "succeeded"


def test_a_step_says_what_it_ran_on_and_where_its_artifacts_are(tmp_path, monkeypatch):
    monkeypatch.setenv("KFP_POD_NAME", "some-pod")
    curves = "minio://bucket/v2/artifacts/grpo-pipeline/r1/sft/u/curves"
    with recorded(str(tmp_path), "r1", "sft", curves):
        pass
    (found,) = read_records(open_store(str(tmp_path)), "r1")
    assert found["pod"] == "some-pod" and found["artifact"] == curves
    assert found["machine"]["python"].startswith("3.") and found["machine"]["gpus"] == []
    assert len((found["machine"]["commit"] or "").removesuffix("-dirty")) in (0, 40)
    assert found["machine"]["packages"]["kfp"] == "2.17.0"
