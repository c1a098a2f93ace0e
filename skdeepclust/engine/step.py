"""Loss and gradients of a batch: compiled where asked for, in words where it does not fit."""

import torch
from torch import Tensor

from skdeepclust.engine.objective import Learner
from skdeepclust.engine.warn import warn_user

__all__ = ["Gradients"]


class Gradients:
    """What a training step does before the optimizer's.

    Parameters
    ----------
    learner : Learner
        Gets the gradients.
    scaler : torch.amp.GradScaler
        Of the loss.
    compiled : bool
        Compile the objective's forward and backward pass; where that fails, go on without,
        with a warning.
    """

    def __init__(self, learner: Learner, scaler: torch.amp.GradScaler, compiled: bool):
        self.learner = learner
        self.parameters = list(learner.parameters())  # to walk the modules takes its time
        self.scaler = scaler
        self.compiled = compiled
        if compiled:
            # The batches of a run have two sizes at most; stages of a method are graphs of
            # their own.
            learner.objective.compile(dynamic=False)

    def __call__(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and its terms; gradients are in place if the loss has any.

        Raises
        ------
        MemoryError
            If the batch does not fit; the message names the largest half, quarter ... of it
            that does.
        """
        try:
            return self._differentiate(batch)
        except Exception as error:
            if _is_out_of_memory(error):
                raise MemoryError(self._advice(batch)) from error
            if not self.compiled:
                raise
            # What does not compile may be the machine's fault, or that of a user's backbone.
            reason = (str(error).strip() or repr(error)).splitlines()[0]
            message = f"compile=True has no effect, the step does not compile: {reason}"
            warn_user(message, UserWarning)
        self.close()
        return self._differentiate(batch)

    def close(self) -> None:
        """Let go of the compiled code."""
        self.compiled = False
        self.learner.objective._compiled_call_impl = None

    def _differentiate(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        for parameter in self.parameters:
            parameter.grad = None
        terms = self.learner(**batch)
        loss = torch.stack(list(terms.values())).sum()
        if loss.requires_grad:  # a method may only watch for an epoch
            self.scaler.scale(loss).backward()
        return loss, terms

    def _advice(self, batch: dict[str, Tensor]) -> str:
        """Find a batch that fits, now that this training is over."""
        self.close()
        size, device = len(batch["index"]), batch["x"].device
        smaller = size // 2
        while smaller >= 2 and not self._fits(batch, smaller):
            smaller //= 2
        start = f"A batch of {size} samples does not fit the memory of {device}"
        if smaller < 2:
            return f"{start}, nor does one of 2: take smaller images or a smaller backbone"
        return f"{start}; one of {smaller} does: take batch_size={smaller}"

    def _fits(self, batch: dict[str, Tensor], size: int) -> bool:
        try:
            self._differentiate({name: rows[:size] for name, rows in batch.items()})
        except Exception as error:
            if _is_out_of_memory(error):
                return False
            raise
        return True


def _is_out_of_memory(error: Exception) -> bool:
    on_cpu = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or on_cpu
