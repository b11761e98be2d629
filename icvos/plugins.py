"""Code of others while it runs here: what it raises becomes one error that says where, and what it changes is put back."""

from __future__ import annotations

import linecache
import locale
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from traceback import walk_tb
from types import FrameType
from typing import TypeVar

from icvos.errors import IcvosError, PluginError
from icvos.method_files import PREFIX, forget_plain_names

Item = TypeVar("Item")
MOST_FRAMES = 3  # of the plug-in's own code, in one message
_LONGEST_LINE = 80
_OWN_NAME = re.compile(rf"{PREFIX}[0-9a-f]+\.")
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def plugin_code(what: str, where: object, *, expected: str = "", fix: str = "mend the plug-in") -> Iterator[None]:
    """A block that runs a plug-in's code.

    The working folder, umask, locale, signal handlers and module search path are put back when it ends; what it prints goes
    to standard error, for standard output is the command's.

    Raises:
        PluginError: the plug-in raises anything that is no error of icvos, or would exit; the message has the last frames of its code.
    """
    with _surroundings_kept():
        try:
            yield
        except IcvosError:  # one of ours speaks for itself
            raise
        except (Exception, SystemExit) as error:  # a plug-in that exits would end the command as if all were done
            if isinstance(error, ImportError) and "relative import" in str(error):
                fix = "a method's file may import what lies beside it, not above it: install it as a package (docs/add-a-method.md)"
            raise PluginError(what, where, told(error), expected, f"{fix}; --traceback shows more") from error


def plugin_items(make: Callable[[], Iterable[Item]], what: str, where: object, *, fix: str = "mend the plug-in") -> Iterator[Item]:
    """The items of what `make` gives, each made as `plugin_code` runs code.

    Raises:
        PluginError: as there.
    """
    items: Iterator[Item] | None = None
    while True:
        with plugin_code(what, where, fix=fix):
            items = iter(make()) if items is None else items
            try:
                item = next(items)
            except StopIteration:
                return
        yield item


def told(error: BaseException) -> str:
    """An exception in one sentence: its kind, its words, and the last frames of the plug-in's own code, the innermost first."""
    words = error.msg if isinstance(error, SyntaxError) else str(error)
    places = _own_places(error)
    where = f" ({'; called from '.join(places)})" if places else ""
    return f"{type(error).__name__}: {_OWN_NAME.sub('', words)}{where}"


def _own_places(error: BaseException) -> list[str]:
    frames = [(frame, line) for frame, line in walk_tb(error.__traceback__) if _package(frame) not in _PASSED]
    first = _package(frames[0][0]) if frames else ""
    own = [(frame, line) for frame, line in frames if _package(frame) == first]
    places = [_place(frame.f_code.co_filename, line, frame.f_code.co_name) for frame, line in reversed(own)]
    if isinstance(error, SyntaxError) and error.filename:
        places.insert(0, _place(error.filename, error.lineno, ""))
    return places[:MOST_FRAMES]


# The way from here to a plug-in leads through these.
_PASSED = {"icvos", "importlib", *sys.stdlib_module_names}


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _place(file: str, line: int | None, function: str) -> str:
    text = linecache.getline(file, line or 0).strip()
    text = text if len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]}..."
    inside = f", in {function}" if function and function != "<module>" else ""
    return f"{file}, line {line}{inside}" + (f": {text}" if text else "")


@contextmanager
def _surroundings_kept() -> Iterator[None]:
    here = _current_folder()
    umask = os.umask(0o077)
    os.umask(umask)
    places, spoken = list(sys.path), locale.setlocale(locale.LC_ALL)
    in_main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in _SIGNALS} if in_main else {}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ()) if hasattr(signal, "pthread_sigmask") else None
    streams = sys.stdin, sys.stdout, sys.stderr
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = streams
        if here is not None:
            with suppress(OSError):
                os.fchdir(here)
            os.close(here)
        os.umask(umask)
        sys.path[:] = [*places, *(place for place in sys.path if place not in places)]
        if locale.setlocale(locale.LC_ALL) != spoken:
            locale.setlocale(locale.LC_ALL, spoken)
        for number, handler in handlers.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)
        if blocked is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        forget_plain_names()


def _current_folder() -> int | None:
    """The working folder, open, so that it is found again whatever becomes of its name; None where this cannot be."""
    if not hasattr(os, "fchdir"):
        return None
    try:
        return os.open(".", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
