"""What scikit-learn's callbacks are told of a training: each epoch is a task."""

from collections.abc import Sequence
from typing import Any

from skorch.callbacks import Callback

__all__ = ["EpochTasks"]


class EpochTasks(Callback):
    """Passes the epochs on to the callbacks that ``set_callbacks`` gave to an estimator.

    While training goes on the estimator's ``history_`` holds the epochs so far.

    Parameters
    ----------
    estimator : DeepClusterer
        In its ``fit``.
    tasks : sklearn.callback.CallbackContext
        The task whose parts the epochs are.
    earlier : sequence of dict, default=()
        Rows of the history of the stages before.
    """

    def __init__(self, estimator: Any, tasks: Any, earlier: Sequence[dict[str, Any]] = ()):
        self.estimator = estimator
        self.tasks = tasks
        self.earlier = earlier
        self.epoch: Any = None

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Begin a task; an epoch that is repeated goes on with its own."""
        if self.epoch is None:
            self.epoch = self.tasks.subcontext("epoch")
            self.epoch.call_on_fit_task_begin(estimator=self.estimator)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """End it, and the training if a callback asks for that."""
        past = len(self.earlier)
        rows = [row | {"epoch": row["epoch"] + past} for row in net.history]
        self.estimator._remember_history([*self.earlier, *rows])
        ended, self.epoch = self.epoch, None
        if ended.call_on_fit_task_end(estimator=self.estimator):
            raise KeyboardInterrupt

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Let go of the estimator, which holds the net."""
        self.estimator = self.tasks = self.epoch = None
