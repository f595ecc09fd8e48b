"""How a run on this machine and its steps end together, whatever ends them.

`pipeline.py run` holds a lock on a file of its output directory. A step waits for that lock in a thread: it gets it
when the run was told to end, and also when the run was killed, since the kernel then lets go of it; in a container too,
which sees the same file. The step then gets SIGTERM, as it would from a cluster that removes its Pod.
"""

import atexit
import contextlib
import ctypes
import fcntl
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from components.lib.files import explained
from components.lib.streams import NOWHERE, Steady

STEPS_VARIABLE = "GRPO_STEPS_LOCK"  # the file whose lock a step waits for
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PARENT = "GRPO_PARENT"  # environment variable: the process that started this one
PR_SET_PDEATHSIG = 1  # linux/prctl.h
ENDED = "was ended by "  # begins what a step's record says of it
AGAIN_S = 5.0
SAVING_S = 600  # that a step may take to save its work

# At its end a process looks for garbage among the half million objects of torch, all about to be freed anyway: up to a
# second, measured in benchmarks/startup.py.
atexit.register(gc.freeze)


class Ended(SystemExit):
    """A signal told this process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.signal = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name

    def __str__(self) -> str:
        return f"{ENDED}{self.signal}"


def end(number: int) -> None:
    """Raise Ended, and again after a while: Python drops what is raised in a callback. `deaf` ends that."""
    deaf()
    signal.signal(signal.SIGALRM, lambda *_: end(number))
    signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
    raise Ended(number)


def deaf() -> None:
    """Ignore all further signals: what follows is only to be written down.

    By a function and not by SIG_IGN: of a signal that came together with the one that is handled, Python would print
    that it was ignored.
    """
    signal.setitimer(signal.ITIMER_REAL, 0)
    for other in (*SIGNALS, signal.SIGALRM):
        signal.signal(other, _ignored)


def _ignored(*_: Any) -> None:
    pass


@contextlib.contextmanager
def handling(handler: Callable[[int], None]) -> Iterator[None]:
    """Call `handler` with the number of a signal that would end this process; one that is ignored (nohup) stays so.

    Outside the main thread, which alone gets signals, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (*SIGNALS, signal.SIGALRM)}
    for number, old in before.items():
        if number in SIGNALS and old not in (signal.SIG_IGN, _ignored):
            signal.signal(number, lambda number, _: handler(number))
    try:
        yield
    except Ended:
        signal.setitimer(signal.ITIMER_REAL, 0)  # it was heard
        raise
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextlib.contextmanager
def with_run() -> Iterator[None]:
    """In a step of `pipeline.py run`: get SIGTERM if the run ends, or is gone, before the block does."""
    path, over = os.environ.get(STEPS_VARIABLE), threading.Event()
    file = open(path or os.devnull, "rb")

    def wait() -> None:
        fcntl.flock(file, fcntl.LOCK_SH)  # held from then on, so that the next run waits for the end of this block
        if over.is_set():
            return
        print("the run that this step belongs to has ended, and so does the step", flush=True)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(SAVING_S)
        os.kill(os.getpid(), signal.SIGKILL)

    if path:
        threading.Thread(target=wait, daemon=True).start()
    try:
        with file:
            yield
    finally:
        over.set()


def die_with_parent() -> None:
    """Have the kernel tell this process to end (SIGTERM) when its parent is no more, however that went.

    A parent that was gone before the kernel could be asked is missed by its id: SIGTERM comes at once.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.environ.get(PARENT, str(os.getppid())) != str(os.getppid()):
        os.kill(os.getpid(), signal.SIGTERM)


def locked(path: Path, wait_s: float) -> TextIO | None:
    """The file, made if it is not there, with its lock, which goes when it is closed.

    None if another process still has the lock after `wait_s`. `ValueError` if the file system knows no locks.
    """
    file = path.open("a+", encoding="utf-8")
    give_up = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            if time.monotonic() >= give_up:
                file.close()
                return None
            time.sleep(0.1)
        except OSError as error:
            file.close()
            raise ValueError(
                f"{path} cannot be locked ({error}); take a directory whose file system has flock"
            ) from None


def run_command(command: str, work: Callable[[], int]) -> int:
    """Do the work of a command line; returns its exit status. What a user can fix is one line on stderr, and 2.

    A console that breaks ends nothing, except that of a command whose output is its result, as `score FILE | head`.
    """
    for number in (1, 2):  # closed ones are made anew, lest the next file that is opened takes their number
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout, sys.stderr = sys.stdout or NOWHERE, sys.stderr or NOWHERE
    try:
        status = work()
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        status, why = 128 + signal.SIGINT, "ended by Ctrl-C"
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or the interpreter complains when it flushes at its end
        return 128 + signal.SIGPIPE
    except (ValueError, OSError) as error:
        status, why = 2, explained(error) if isinstance(error, OSError) else str(error)
    print(f"{command}: {why}", file=Steady(sys.stderr))
    return status
