"""A Hub that is busy, cut off or not to be reached: what is asked again, what works from the cache, what is said."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from components.lib import hub, retry
from components.lib.cluster import probe
from components.lib.data.sources import files
from components.lib.model.files import config_of, model_directory
from components.lib.recipe.schema import Source
from tests.fixtures.hub_server import Fault, HubServer
from tests.fixtures.raw_server import raw_server
from tests.fixtures.rows import good, lines

MODEL, DATA = "lab/model", "lab/math"
WEIGHTS = {"config.json": b'{"hidden_size": 8}', "tokenizer.json": b"{}", "model.safetensors": b"weights"}
CARD = b"---\nconfigs:\n- config_name: main\n  data_files:\n  - split: train\n    path: main/*\n---\n"
DATA_FILES = {"README.md": CARD, "main/1.jsonl": lines(good("gsm8k", 2)), "main/0.jsonl": lines(good("gsm8k", 3))}


@pytest.fixture
def server() -> Iterator[HubServer]:
    with HubServer() as found:
        found.add_repo("model", MODEL, WEIGHTS)
        found.add_repo("dataset", DATA, DATA_FILES)
        yield found


@pytest.fixture
def here(server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    """The server as this process sees it."""
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    files_url = "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + files_url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.0)
    monkeypatch.setenv("HF_TOKEN", "hf_write")
    return server


def source(**fields: str) -> Source:
    return Source(**{"path": DATA, "adapter": "gsm8k", "name": "math", "config": "main", **fields})  # type: ignore[arg-type]


def read(given: Source) -> list[str]:
    with files(given) as found:
        assert all(path.read_bytes() == DATA_FILES[name] for name, path in found)
        return [name for name, _ in found]


BUSY = [
    pytest.param({"status": 503}, id="503"), pytest.param({"status": 502}, id="502"),
    pytest.param({"status": 429, "headers": {"Retry-After": "0"}}, id="429"), pytest.param({"kind": "cut"}, id="cut"),
]  # fmt: skip


@pytest.mark.fault("the Hub answers 429, 502 or 503, or cuts the connection, in each request of a run")
@pytest.mark.parametrize("how", BUSY)
def test_a_busy_hub_ends_no_reading(here: HubServer, capsys, seen, how) -> None:
    requests = ("GET /api/models/.*/tree/", "HEAD /lab/model/.*config.json", "GET /lab/model/.*safetensors",
                "GET /api/datasets/.*/revision/", "GET /api/datasets/.*/tree/", "HEAD /datasets/.*/README.md",
                "GET /datasets/.*/main/0.jsonl", "GET /api/whoami-v2")  # fmt: skip
    here.faults += [Fault(request, **how) for request in requests]
    commit = here.repos["model", MODEL].branches["main"]
    directory = model_directory(MODEL, commit)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == WEIGHTS
    assert config_of(MODEL, commit) == {"hidden_size": 8}
    assert read(source(revision="main")) == ["main/0.jsonl", "main/1.jsonl"]
    assert all(found.ok for found in probe.hub())
    assert not [fault.request for fault in here.faults if fault.times], "each fault has happened"
    said = [line for line in capsys.readouterr().out.splitlines() if "try 2 of 6" in line]
    assert {line.partition(":")[0] for line in said} >= {f"download model {MODEL}", f"look up dataset {DATA}"}
    seen(said[0])


@pytest.mark.fault("the Hub stays busy")
def test_a_hub_that_stays_busy_is_named_and_not_asked_for_minutes(here: HubServer, seen) -> None:
    """The library's own tries do not multiply with ours."""
    here.faults += [Fault(".", times=1000)]
    commit = here.repos["model", MODEL].branches["main"]
    with pytest.raises(ValueError, match=f"the Hub did not answer for model '{MODEL}': .*503") as told:
        model_directory(MODEL, commit)
    assert len(here.log) == retry.ATTEMPTS and "\n" not in str(told.value)
    here.log.clear()
    with pytest.raises(ValueError, match=r"source 'math': the Hub did not answer for dataset 'lab/math': .*503"):
        read(source(file="main/0.jsonl", revision=commit))
    assert len(here.log) == 2 * retry.ATTEMPTS  # the library itself asks once more, without waiting
    seen(str(told.value))


def test_what_the_hub_does_not_have_or_may_not_give_is_asked_once(here: HubServer) -> None:
    commit = here.repos["model", MODEL].branches["main"]
    for call, said in (
        (lambda: model_directory("lab/none", commit), "model 'lab/none' is not on the Hub, or HF_TOKEN may not"),
        (lambda: model_directory(MODEL, "0" * 40), f"model '{MODEL}' has no revision '0000"),
        (lambda: config_of("lab/none", commit), "model 'lab/none' is not on the Hub"),
        (lambda: read(source(file="none.jsonl", revision="main")), "lacks it: 404 .*none.jsonl"),
    ):
        here.log.clear()
        with pytest.raises(ValueError, match=said):
            call()
        assert len(here.log) == len(set(here.log)), here.log


ASK = """
import json, sys
from components.lib.data.sources import files
from components.lib.hub import commit_of
from components.lib.model.files import model_directory
from components.lib.recipe.schema import Source
for what, name, revision in json.loads(sys.argv[1]):
    try:
        if what in ("dataset", "file"):  # a file alone needs no `datasets`, which takes seconds to import
            file = "main/1.jsonl" if what == "file" else ""
            source = Source(path=name, adapter="gsm8k", name="math", config="main", file=file, revision=revision)
            with files(source) as found:
                print([name for name, path in found if path.read_bytes()])
        elif what == "commit":
            print(commit_of("model", name, revision))
        else:
            print(sorted(path.name for path in model_directory(name, revision).iterdir() if path.read_bytes()))
    except ValueError as error:
        print(error)
"""


def ask(wanted: list[tuple[str, str, str]], environment: dict[str, str]) -> list[str]:
    """What a process of its own reads, or the error, a line for each."""
    command = [sys.executable, "-c", ASK, json.dumps(wanted)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | environment)
    return done.stdout.splitlines()


@pytest.mark.fault("HF_HUB_OFFLINE is set")
def test_what_is_in_the_cache_works_offline_and_what_is_not_is_named(server: HubServer, tmp_path: Path, seen) -> None:
    environment = server.environment(tmp_path / "home")
    commit = server.repos["model", MODEL].branches["main"]
    rows = server.repos["dataset", DATA].branches["main"]
    wanted = [("commit", MODEL, "main"), ("model", MODEL, commit), ("dataset", DATA, "main"), ("dataset", DATA, rows)]
    online = ask(wanted, environment)
    assert online == [commit, str(sorted(WEIGHTS)), *["['main/0.jsonl', 'main/1.jsonl']"] * 2]
    server.add_repo("model", MODEL, {"new.json": b"{}"})
    server.log.clear()
    missing = [("commit", MODEL, "v2"), ("commit", MODEL, "1" * 40), ("model", "lab/none", commit),
               ("dataset", "lab/none", "main")]  # fmt: skip
    offline = ask([*wanted, *missing], environment | {"HF_HUB_OFFLINE": "1"})
    assert offline[:4] == online and not server.log
    assert len(offline) == 8
    for line, (kind, repo, revision) in zip(offline[4:], missing, strict=True):
        kind = "dataset" if kind == "dataset" else "model"
        assert f"HF_HUB_OFFLINE is set, and {kind} '{repo}' at '{revision}' is not, or not all, in the cache" in line
        assert line.endswith(f"hf download {repo} --repo-type {kind} --revision {revision}")
    (lost,) = (tmp_path / "home").rglob("main/1.jsonl")  # nothing is read in part
    lost.unlink()
    (said,) = ask([("file", DATA, rows)], environment | {"HF_HUB_OFFLINE": "1"})
    assert said == offline[7].replace("lab/none", DATA).replace("main", rows)
    seen(offline[4])


@pytest.mark.fault("the proxy of the environment is dead")
def test_a_dead_proxy_is_named_within_seconds_without_its_password(server: HubServer, tmp_path: Path, seen) -> None:
    commit, began = server.repos["model", MODEL].branches["main"], time.monotonic()
    environment = server.environment(tmp_path / "home") | {
        "HF_ENDPOINT": "https://huggingface.co", "HTTPS_PROXY": "http://me:geheim@127.0.0.1:1", "NO_PROXY": "",
    }  # fmt: skip
    wanted = [("commit", MODEL, "main"), ("model", MODEL, commit), ("dataset", DATA, "main")]
    said = ask(wanted, environment)
    assert len(said) == 3 and time.monotonic() - began < 30
    for line in said:
        assert "the proxy 127.0.0.1:1 that HTTPS_PROXY names does not answer ([Errno 111] Connection refused)" in line
        assert line.endswith("correct or unset HTTPS_PROXY") and "geheim" not in line
    seen(said[0])


@pytest.mark.parametrize(
    ("answer", "calls"), [(b"HTTP/1.1 407 Who are you\r\n\r\n", 1), (b"HTTP/1.1 503 Busy\r\n\r\n", retry.ATTEMPTS)]
)
def test_a_proxy_that_refuses_is_asked_once_and_a_busy_one_again(answer, calls, monkeypatch) -> None:
    import httpx2

    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.0)
    with raw_server(answer) as (url, received), contextlib.closing(httpx2.Client(proxy=url)) as client:
        with pytest.raises(httpx2.ProxyError):
            hub.retried(lambda: client.get("https://huggingface.co"), "ask")
        assert len(received) == calls


def test_a_name_that_nobody_knows_is_not_asked_for_again() -> None:
    import httpx2

    with pytest.raises(httpx2.ConnectError) as told:
        httpx2.get("http://no-such-name.invalid")
    assert retry.judge_http(told.value) is None and retry.judge_http(httpx2.ConnectError("refused")) is not None


def test_which_proxy_is_asked(monkeypatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    ask_proxy = retry.refuse_dead_proxy.__wrapped__
    ask_proxy("https://huggingface.co")
    monkeypatch.setenv("all_proxy", "127.0.0.1:1")
    with pytest.raises(ValueError, match="the proxy 127.0.0.1:1 that all_proxy names"):
        ask_proxy("https://huggingface.co")
    monkeypatch.setenv("NO_PROXY", "huggingface.co")
    ask_proxy("https://huggingface.co")
    monkeypatch.setenv("HTTPS_PROXY", "http://:port")
    with pytest.raises(ValueError, match="HTTPS_PROXY is no address of a proxy; write http://HOST:PORT"):
        ask_proxy("https://hub.example")
