"""Import without Python's garbage collector, which looks through the half million objects of torch and TRL in vain.

It does so again and again while they are imported, and whenever it looks at all afterwards; at the end of a process it
is lib/ending.py that spares it. benchmarks/startup.py measures what this is worth.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Import in here: nothing is collected meanwhile, and what is there afterwards is left out of all that follows.

    Python's own documentation has it so for processes that fork, whose children then share those pages for good.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
