"""Ctrl-C and SIGTERM wait for the end of the step, so that nothing is left half done."""

import signal
import threading
from types import FrameType
from typing import Any, Self

__all__ = ["Signals"]


class Signals:
    """Hold back the wish to stop while a step is being made.

    Used in a ``with`` statement around a training; the handlers are put back afterwards. Only
    the main thread hears of signals, elsewhere it does nothing.

    Parameters
    ----------
    listen : bool
        Whether to do so at all.

    Attributes
    ----------
    stepping : bool
        Set by the training: a signal now waits for `deliver`. Otherwise it acts at once.
    pending : int or None
        The signal that waits. A second one does not.
    """

    def __init__(self, listen: bool) -> None:
        self.listen = listen
        self.stepping = False
        self.pending: int | None = None
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if self.listen and threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                was = signal.getsignal(number)
                if was not in (signal.SIG_IGN, None):
                    self._handlers[number] = was
                    signal.signal(number, self._hear)
        return self

    def __exit__(self, *error: object) -> None:
        while self._handlers:
            signal.signal(*self._handlers.popitem())

    def _hear(self, number: int, frame: FrameType | None) -> None:
        waits = self.stepping and self.pending is None
        self.pending = number
        if not waits:
            self.deliver()

    def deliver(self) -> None:
        """Do what the pending signal asks for.

        Raises
        ------
        KeyboardInterrupt
            For SIGINT.
        SystemExit
            For SIGTERM, with status 143, after the handler that was there before, if any.
        """
        number, self.pending = self.pending, None
        handler = self._handlers.get(number) if number else None
        if callable(handler):
            handler(number, None)  # Python's own, of SIGINT, raises KeyboardInterrupt
        if number is not None and not (number == signal.SIGINT and callable(handler)):
            raise SystemExit(128 + number)
