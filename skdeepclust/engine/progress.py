"""What verbose shows: a progress bar, or a line per epoch."""

from collections.abc import Iterable
from typing import Any, TypeVar

from skorch.callbacks import Callback

__all__ = ["EpochLines", "ProgressBar", "describe", "duration", "shown"]

_T = TypeVar("_T")


def describe(row: dict[str, Any]) -> str:
    """One epoch in a line: loss, label change, balance of the sizes, speed."""
    parts = [f"loss {row['loss']:.4f}"]
    if row["label_change"] == row["label_change"]:  # not NaN
        parts.append(f"moved {row['label_change']:.1%}")
    parts.append(f"balance {row['size_entropy']:.2f}")
    if row["empty_clusters"]:
        parts.append(f"empty {row['empty_clusters']}")
    parts.append(f"{row['images_per_second']:,.0f} img/s")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """Return seconds as people say them."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def shown(items: Iterable[_T], total: int, title: str | None, unit: str) -> Iterable[_T]:
    """Items, with a bar that counts them.

    Parameters
    ----------
    items : iterable
        What is counted.
    total : int
        How many there are.
    title : str or None
        Shown before the bar; without one there is no bar.
    unit : str
        What they are.

    Returns
    -------
    iterable
    """
    if title is None:
        return items
    from tqdm.auto import tqdm

    return tqdm(items, total=total, desc=title, unit=unit, dynamic_ncols=True)


class ProgressBar(Callback):
    """A bar over all steps of the training, with loss and cluster health.

    Parameters
    ----------
    title : str
        Shown before the bar.
    """

    def __init__(self, title: str):
        self.title = title

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Open the bar, where a checkpoint has left the training."""
        from tqdm.auto import tqdm

        if not hasattr(self, "bar_"):
            self.bar_ = tqdm(
                total=net.run.n_epochs * net.run.n_steps,
                initial=net.run.step,
                desc=self.title,
                unit="step",
                dynamic_ncols=True,
            )

    def on_batch_end(self, net: Any, **kwargs: Any) -> None:
        """Advance it; an epoch that is repeated takes it back."""
        self.bar_.update(net.run.step - self.bar_.n)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Show the epoch's figures."""
        self.bar_.set_postfix_str(describe(net.record))

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Close it, leaving the last line on screen."""
        if hasattr(self, "bar_"):  # not if nothing was left to train
            self.bar_.close()
            del self.bar_


class EpochLines(Callback):
    """A line per epoch on standard output.

    Parameters
    ----------
    title : str
        Shown at the start of each line.
    """

    def __init__(self, title: str):
        self.title = title

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Print the epoch's figures, and how long the rest takes if all are like it."""
        epoch, n_epochs, seconds = net.run.epoch, net.run.n_epochs, net.record["seconds"]
        line = f"{self.title} {epoch:>4}/{n_epochs}  {describe(net.record)}, {seconds:.2f} s"
        rest = (n_epochs - epoch) * seconds
        print(f"{line}, {duration(rest)} left" if epoch < n_epochs else line, flush=True)
