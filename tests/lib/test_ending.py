"""How commands end: one line for what a user can fix, whatever breaks around them."""

import os
import signal
import subprocess
import sys
import threading
import time
import weakref

import pytest

import pipeline
from components.lib import ending, streams
from components.lib.registry import record
from components.lib.registry.record import read_records, recorded
from components.lib.registry.store import open_store
from tests import ROOT

LINE = '{"completion": "#### 4", "gold": "4"}\n'


def verb(*arguments, **options):
    command = [sys.executable, str(ROOT / "pipeline.py"), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, **options)


def bad_places(tmp_path):
    """Paths that cannot be written, by what is wrong with them."""
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    return {
        "a file lies where a folder belongs": tmp_path / "file" / "out",
        "a name is too long": tmp_path / ("n" * 300) / "out",
        "a link points to itself": _loop(tmp_path) / "out",
        "a file system is read-only": "/sys/kernel/out",
    }


def _loop(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    return tmp_path / "loop"


@pytest.mark.fault("an --output that cannot be written")
def test_a_place_that_cannot_be_written_is_one_line(tmp_path, capsys, seen):
    (tmp_path / "c.jsonl").write_text(LINE)
    for fault, place in bad_places(tmp_path).items():
        for given in (["run", "--output", place], ["compile", "--output", f"{place}/x.yaml"],
                      ["score", tmp_path / "c.jsonl", "--output", f"{place}/scored.jsonl"]):  # fmt: skip
            assert pipeline.main([str(part) for part in given]) == 2, given
            said = capsys.readouterr().err
            assert said.startswith(f"pipeline.py {given[0]}: ") and str(place)[:60] in said and said.count("\n") == 1, (
                said
            )
            assert "; " in said  # and what to do
        seen(said, fault=f"{fault}, given as --output")


@pytest.mark.fault("score FILE | head")
def test_a_reader_that_leaves_ends_score_quietly(tmp_path, seen):
    (tmp_path / "many.jsonl").write_text(LINE * 50_000)
    process = verb("score", tmp_path / "many.jsonl")
    first = process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == 128 + signal.SIGPIPE and process.stderr.read() == ""
    process.stderr.close()
    seen(first)


@pytest.mark.fault("Ctrl-C while a verb works")
def test_ctrl_c_is_one_line(tmp_path, seen):
    os.mkfifo(tmp_path / "slow")
    process = verb("score", tmp_path / "slow")
    with (tmp_path / "slow").open("w") as slow:  # opened once score reads
        slow.write(LINE)
        slow.flush()
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except (
            subprocess.TimeoutExpired
        ):  # it came just before the read began, which then goes on: a user presses again
            process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    said = process.stderr.read()
    process.stdout.close(), process.stderr.close()
    assert said == "pipeline.py score: ended by Ctrl-C\n"
    seen(said)


def test_a_signal_is_recorded_as_the_end_of_a_step(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as raised, recorded(str(tmp_path), "r1", "sample"):
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(10)
    assert raised.value.code == 143
    (found,) = read_records(open_store(str(tmp_path)), "r1")
    assert (found["outcome"], found["error"]) == ("failed", "was ended by SIGTERM")
    assert signal.getsignal(signal.SIGTERM) == before
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0  # else SIGALRM would kill a process that lives on


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_that_a_callback_swallows_comes_again(tmp_path, monkeypatch):
    """Python drops what is raised while it calls back that an object is gone, as its imports have it do."""
    monkeypatch.setattr(ending, "AGAIN_S", 0.2)
    called = []

    def gone(_):
        called.append(True)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)

    with pytest.raises(ending.Ended), recorded(str(tmp_path), "r1", "sample"):
        thing = threading.Event()
        watched = weakref.ref(thing, gone)
        del thing
        assert called and watched() is None  # the step goes on, although it was told to end
        time.sleep(10)
    (found,) = read_records(open_store(str(tmp_path)), "r1")
    assert found["error"] == "was ended by SIGTERM" and found["seconds"] < 5


TOGETHER = """
import os, signal
from components.lib import ending
both = {signal.SIGINT, signal.SIGTERM}
try:
    with ending.handling(ending.end):
        signal.pthread_sigmask(signal.SIG_BLOCK, both)
        for number in both:
            os.kill(os.getpid(), number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, both)
except ending.Ended as ended:
    print(ended)
"""


def test_two_signals_at_once_end_it_without_a_word_of_python():
    """As Ctrl-C, which all processes of a terminal get, and the SIGTERM of the run that it ends."""
    done = subprocess.run([sys.executable, "-c", TOGETHER], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("was ended by Ctrl-C\n", "")


def test_a_signal_that_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ending.handling(ending.end):
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_stream_that_breaks_says_no_more():
    read, write = os.pipe()
    stream = streams.Steady(os.fdopen(write, "w", buffering=1))
    print("first", file=stream)
    assert os.read(read, 100) == b"first\n"
    os.close(read)
    print("second", file=stream, flush=True)
    stream.close()
    assert stream.encoding.lower() == streams.Steady(None).encoding and stream.write("third") == 5


@pytest.mark.fault("the clock is set back by a day during a step")
def test_durations_are_those_of_a_clock_that_nobody_sets(tmp_path, monkeypatch, seen):
    with recorded(str(tmp_path), "r1", "gate"):
        now = record.time.time()
        monkeypatch.setattr(record.time, "time", lambda: now - 86_400)
    (found,) = read_records(open_store(str(tmp_path)), "r1")
    assert 0 <= found["seconds"] < 60 and found["started"] <= found["ended"]
    seen(f"gate took {found['seconds']} s")
