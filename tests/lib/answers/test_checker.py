"""A user's own checker: what it says is what is paid, and whatever it does is at most a wrong answer."""

import json
import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.lib.answers import checker
from components.lib.answers.checker_worker import WrongValue, verdict
from components.lib.recipe.checkers import packed, short_hash

ROW = {"question": "2+2?", "gold": "4", "meta": {"unit": "apples"}}
OWN = """
import re

RIGHT = 0.5

def check(completion, row):
    found = re.findall(r"-?\\d+", completion.rpartition("</think>")[2])
    if not found:
        return {"score": 0.0}
    return {"score": max(0.0, 1 - abs(int(found[-1]) - int(row["gold"])) / 4), "answer": found[-1]}
"""
FAULTS = """
import ctypes, os, re, sys, time

def check(completion, row):
    if completion == "raises":
        return {}["no such key"]
    if completion == "hangs":
        time.sleep(100)
    if completion == "hangs in a regular expression":
        re.match("(a+)+$", "a" * 60 + "b")
    if completion == "kills its process":
        os.kill(os.getpid(), 9)
    if completion == "crashes its process":
        ctypes.string_at(0)
    if completion == "ends its process":
        os._exit(3)
    if completion == "exits":
        sys.exit(3)
    if completion == "takes all memory":
        bytearray(1 << 40)
    if completion == "recurses":
        return check(completion, row)
    if completion == "reads":
        input()
    if completion == "prints":
        print("true"), sys.stdout.write("{"), os.write(1, b"[1]\\n"), os.system("echo null")
    if completion == "forks":
        os.fork()
    return True
"""


@pytest.fixture(autouse=True)
def forgotten():
    """No process is left, and no count."""
    yield
    checker.end()


def installed(code: str, name: str = "mine.py") -> str:
    return checker.install_codes({f"python:{name}": packed(code)})[f"python:{name}"]


def test_what_it_says_is_the_verdict():
    known = installed(OWN)
    assert known == short_hash(OWN)
    said = {text: checker.judge(known, f"<think>9 9</think>\n{text}", ROW) for text in ("4", "so 5", "7", "none")}
    assert said == {
        "4": (1.0, True, "4", ""), "so 5": (0.75, True, "5", ""), "7": (0.25, False, "7", ""),
        "none": (0.0, False, None, ""),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("returned", "right", "said"),
    [
        (True, 1.0, (1.0, True, None)),
        (False, 1.0, (0.0, False, None)),
        (1, 1.0, (1.0, True, None)),
        (0.5, 1.0, (0.5, False, None)),
        (0.5, 0.5, (0.5, True, None)),
        ({"score": 0.2, "right": True, "answer": 7}, 1.0, (0.2, True, "7")),
        ({"score": True, "answer": "x" * 9_999, "why": "else"}, 1.0, (1.0, True, "x" * 1_000)),
        ({"score": 1.0, "right": False, "answer": None}, 1.0, (1.0, False, None)),
    ],
)
def test_what_it_may_return(returned, right, said):
    assert tuple(verdict(returned, right).values()) == said


NONSENSE = [
    float("nan"), float("inf"), 2.0, -0.1, "yes", None, [], {}, {"right": True}, {"score": "1"}, {"score": None},
    {"score": float("nan")}, {"score": 1.0, "right": 1}, {"score": 1.0, "right": "yes"}, {"score": 1, "answer": ["4"]},
]  # fmt: skip


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
RETURNED = VALUES | st.fixed_dictionaries({"score": LEAVES}, optional={"right": LEAVES, "answer": LEAVES})


@given(RETURNED, st.floats(0, 1, exclude_min=True))
def test_whatever_it_returns_is_a_verdict_or_refused(returned, right):
    try:
        found = verdict(returned, right)
    except WrongValue:
        return
    assert 0 <= found["score"] <= 1 and isinstance(found["right"], bool)
    assert found["answer"] is None or isinstance(found["answer"], str)
    assert json.loads(json.dumps(found)) == found


@pytest.mark.fault("a checker of the user's own returns nonsense")
def test_what_it_may_not_return(seen):
    for returned in NONSENSE:
        with pytest.raises(WrongValue, match="check returned"):
            verdict(returned, 1.0)
    found = checker.judge(installed("def check(completion, row):\n    return 2.0\n"), "4", ROW)
    assert (found.score, found.right) == (0.0, False)
    seen(found.failure, lost="the answer: it counts as wrong")


def test_numbers_of_numpy_are_numbers():
    numpy = pytest.importorskip("numpy", reason="needs numpy: its numbers are not returned")
    assert verdict({"score": numpy.float32(1), "right": numpy.bool_(False)}, 1.0)["right"] is False
    assert verdict(numpy.bool_(True), 1.0) == {"score": 1.0, "right": True, "answer": None}


@pytest.mark.fault("a checker of the user's own does what it should not")
@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("raises", "KeyError: 'no such key'"),
        ("hangs", "it took too long"),
        ("hangs in a regular expression", "it took too long"),
        ("kills its process", "ended by SIGKILL"),
        ("crashes its process", "ended by SIGSEGV"),
        ("ends its process", "ended with status 3"),
        ("exits", "SystemExit: 3"),
        ("takes all memory", "MemoryError"),
        ("recurses", "RecursionError"),
        ("reads", "EOFError"),
    ],
)
def test_what_it_does_costs_one_answer(what, why, seen, monkeypatch, capfd):
    monkeypatch.setattr(checker, "LIMIT_S", 0.5)
    known, begin = installed(FAULTS), time.monotonic()
    found = checker.judge(known, what, ROW)
    assert (found.score, found.right, found.answer) == (0.0, False, None)
    assert found.failure.splitlines()[-1].endswith(why) or why in found.failure.splitlines()[-1]
    assert checker.judge(known, "well", ROW) == (1.0, True, None, "")
    assert time.monotonic() - begin < 20
    out = capfd.readouterr().out
    assert out.startswith("checker mine.py failed on an answer, which counts as wrong:\n") and why in out
    if "hangs" in what or what == "raises":
        assert 'File "mine.py", line' in out, "it says where"
    seen(" ".join(out.split()), lost="the answer: it counts as wrong", fault=f"a checker of the user's own {what}")


@pytest.mark.fault("a checker of the user's own prints")
def test_what_it_prints_is_no_answer(seen, capfd):
    known = installed(FAULTS)
    assert checker.judge(known, "prints", ROW) == checker.judge(known, "forks", ROW) == (1.0, True, None, "")
    assert checker.judge(known, "well", ROW).right
    assert "null" in capfd.readouterr().err
    seen("what it printed, in the step's log")


@pytest.mark.fault("a checker of the user's own fails on too many answers")
def test_too_many_failures_end_the_step(seen, capsys):
    known = installed("def check(completion, row):\n    return len(completion) > 2 or 1 / 0\n")
    for number in range(17):
        checker.judge(known, "x" * (3 + number), ROW)
    checker.judge(known, "x", ROW), checker.judge(known, "xx", ROW)
    with pytest.raises(ValueError, match=r"checker mine\.py failed on 3 of 20 answers, more than 10%") as error:
        checker.judge(known, "", ROW)
    assert capsys.readouterr().out.count("Traceback") == 1
    seen(str(error.value), lost="the step since its last checkpoint")


def test_an_answer_is_asked_for_once(tmp_path):
    log = tmp_path / "log"
    known = installed(f"def check(completion, row):\n    open({str(log)!r}, 'a').write(completion)\n    return True\n")
    for text in ("a", "b", "a", "a"):
        checker.judge(known, text, ROW)
    assert log.read_text() == "ab"
    checker.judge(known, "a", {**ROW, "gold": "5"})
    assert log.read_text() == "aba"


def test_its_process_ends_when_told():
    said = "{'score': 0, 'answer': f'{os.getpid()} {os.getppid()}'}"
    known = installed(f"import os\ndef check(completion, row):\n    return {said}\n")
    child, parent = map(int, checker.judge(known, "", ROW).answer.split())
    assert parent == os.getpid()
    checker.end()
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import no_such_module\ndef check(c, r):\n    return 1\n", "No module named 'no_such_module'"),
        ("def check(completion):\n    return 1\n", r"check\(completion, row\) cannot be called: too many"),
        ("check = 3\n", r"check is 3, not a function"),
        ("RIGHT = 0\ndef check(c, r):\n    return 1\n", "RIGHT is 0; it must be a number above 0 and at most 1"),
        ("RIGHT = '1'\ndef check(c, r):\n    return 1\n", "RIGHT is '1'"),
        ("raise SystemExit(0)\ndef check(c, r):\n    return 1\n", "SystemExit: 0"),
        ("import os\nos._exit(0)\ndef check(c, r):\n    return 1\n", "its process ended with status 0"),
    ],
)
def test_what_does_not_load_is_one_line(code, said):
    with pytest.raises(ValueError, match=rf"^checker mine\.py does not load: [^\n]*{said}"):
        checker.load("python:mine.py", packed(code))


def test_its_folder_holds_it(tmp_path):
    checker.write({"python:mine.py": packed(OWN)}, tmp_path)
    (path,) = (tmp_path / "checkers").iterdir()
    assert path.name == f"{short_hash(OWN)}.py" and path.read_text() == OWN
    checker.install(tmp_path)
    assert checker.judge(short_hash(OWN), "4", ROW).right
    path.write_text(OWN + "\n")
    with pytest.raises(ValueError, match="has been changed since standardize wrote it"):
        checker.install(tmp_path)
    with pytest.raises(ValueError, match="there is no checker 0123456789abcdef"):
        checker.judge("0123456789abcdef", "4", ROW)
