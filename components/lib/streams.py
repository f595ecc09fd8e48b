"""UTF-8, whatever the locale: this process, and those that it starts."""

import codecs
import io
import locale
import os
import sys

# What a Python process needs for it; what cannot be encoded at all, as half a character, is printed escaped.
VARIABLES = {"PYTHONUTF8": "1", "PYTHONIOENCODING": "utf-8:backslashreplace"}


def use_utf8() -> None:
    """Let what is read, written and printed without an encoding be UTF-8, in libraries and in KFP's processes too.

    A process that has begun with another encoding starts anew, with the arguments that it had: call it first of all.
    """
    encodings = {codecs.lookup(name).name for name in (locale.getpreferredencoding(False), *_encodings())}
    anew = bool(encodings - {"utf-8"}) and not VARIABLES.items() <= os.environ.items()  # once
    os.environ |= VARIABLES
    if anew:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _encodings() -> list[str]:
    return [stream.encoding for stream in (sys.stdout, sys.stderr) if isinstance(stream, io.TextIOWrapper)]
