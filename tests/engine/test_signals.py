"""Who handles a signal himself is heard, and decides whether the process goes on."""

import signal

import pytest

from skdeepclust.engine.signals import Signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_handler_that_was_there_before_is_called_after_the_step(number):
    heard = []
    before = signal.signal(number, lambda *_: heard.append(number))
    try:
        with Signals(listen=True) as signals:
            signals.stepping = True
            signal.raise_signal(number)
            assert signals.pending == number and not heard
            if number == signal.SIGTERM:  # a training that is asked to end, ends
                with pytest.raises(SystemExit, match="143"):
                    signals.deliver()
            else:
                signals.deliver()
            assert heard == [number] and signals.pending is None
    finally:
        signal.signal(number, before)
