"""What people read while they wait."""

from types import SimpleNamespace

import pytest

from skdeepclust.engine.progress import EpochLines, duration


@pytest.mark.parametrize(
    ("seconds", "words"), [(4.4, "4 s"), (59.6, "1 min 0 s"), (3700, "1 h 1 min")]
)
def test_durations(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(("epoch", "end"), [(1, "30.50 s, 50 min 50 s left"), (101, "30.50 s")])
def test_a_line_tells_how_long_the_rest_will_take(epoch, end, capsys):
    record = {"loss": 1.0, "label_change": 0.1, "size_entropy": 1.0, "empty_clusters": 0}
    record |= {"images_per_second": 10.0, "seconds": 30.5}
    run = SimpleNamespace(epoch=epoch, n_epochs=101)
    EpochLines("Method").on_epoch_end(SimpleNamespace(run=run, record=record))
    assert capsys.readouterr().out.splitlines()[0].endswith(end)
