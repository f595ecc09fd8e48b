"""Generation on a CPU in several processes, each with a batch and a CPU of its own.

Steps of a small model are too short for threads to share, and a second process next to the first costs neither time to
load nor memory for weights, since it is a fork. Which batch is written by which process changes nothing in it.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from components.lib import ending, machine

Item = TypeVar("Item")
Made = TypeVar("Made")


def count(batches: int, threads: int) -> int:
    """How many processes should write so many batches, in place of one with so many threads.

    As many as CPUs are idle, but no fewer than keep them all at work. One if the user has set the threads, and for one
    of several processes that train together.
    """
    theirs = "OMP_NUM_THREADS" in os.environ and machine.CHOSEN_VARIABLE not in os.environ
    if batches < 2 or theirs or "WORLD_SIZE" in os.environ:
        return 1
    cpus = machine.idle_cpus()
    return min(batches, cpus) if batches >= cpus or threads == 1 else 1


def shared_out(items: Sequence[Item], work: Callable[[Item], Made], processes: int) -> Iterator[tuple[Item, Made]]:
    """Do the work of each item in so many processes, begun in their order; yields what was made as it is ready.

    Each has one thread, since those of OpenMP do not outlive a fork. An item whose process was killed, as for want of
    memory, is done by another, or here if none is left. What `work` raises is raised here.
    """
    if processes < 2:
        yield from ((item, work(item)) for item in items)
        return
    waiting = list(items)
    started = [_started(work) for _ in range(processes)]
    try:
        doing = {here: given for _, here in started if (given := _hand_out(here, waiting))}
        while doing:
            for ready in wait(list(doing)):
                assert isinstance(ready, Connection)
                [item] = doing.pop(ready)
                try:
                    made, error = ready.recv()
                except (EOFError, ConnectionError):
                    print("a process that generates was killed, and the others do its work", flush=True)
                    waiting.insert(0, item)
                    continue
                if error is not None:
                    raise error
                if following := _hand_out(ready, waiting):
                    doing[ready] = following
                yield item, made
    finally:
        for process, here in started:
            here.close()
            process.terminate()
            process.join()
    yield from ((item, work(item)) for item in waiting)


def _started(work: Callable[[Any], Any]) -> tuple[Any, Connection]:
    """A process that does the work of what it is sent, and the connection to it."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, work, os.getpid()), daemon=True)
    process.start()
    there.close()  # its end of it is the process's alone: so its death is seen here
    return process, here


def _hand_out(connection: Connection, waiting: list[Item]) -> list[Item]:
    """Give a process the next item, which is returned; nothing if there is none, or nobody to give it to."""
    try:
        if waiting:
            connection.send(waiting[0])
    except ConnectionError:
        return []
    given, waiting[:1] = waiting[:1], []
    return given


def _serve(connection: Connection, work: Callable[[Any], Any], parent: int) -> None:
    """Work until the other end is closed."""
    import torch

    for number in ending.SIGNALS:
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.SIG_IGN)
    os.environ[ending.PARENT] = str(parent)
    ending.die_with_parent()
    torch.set_num_threads(1)
    while True:
        try:
            item = connection.recv()
        except (EOFError, ConnectionError):
            return
        try:
            connection.send((work(item), None))
        except Exception as error:
            connection.send((None, error))
