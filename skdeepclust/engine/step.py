"""Loss and gradients of a batch: compiled if asked for, a clear MemoryError if it does not fit."""

import gc
import itertools
from typing import Any

import torch
from torch import Tensor

from skdeepclust._errors import first_line
from skdeepclust.engine.device import is_out_of_memory
from skdeepclust.engine.objective import Learner
from skdeepclust.engine.processes import OwnRandomNumbers
from skdeepclust.engine.recorded import RecordedViews
from skdeepclust.engine.warn import warn_user
from skdeepclust.ops import collective
from skdeepclust.ops.collective import rank, world_size

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
        Compile the objective's forward and backward pass, on CUDA into a graph that a single
        launch replays; where that fails, go on without, with a warning. There, our own
        augmentations are such a graph, too.
    size : int
        Samples of the batches to compile for. The last one of an epoch, which may be of another
        size, goes without: to compile for it would take longer than it ever saves.
    """

    def __init__(self, learner: Learner, scaler: torch.amp.GradScaler, compiled: bool, size: int):
        self.learner = learner
        self.parameters = list(learner.parameters())  # to walk the modules takes its time
        self.scaler = scaler
        self.size = size
        device = learner.objective.centers.device
        self.random_numbers = OwnRandomNumbers(learner.views, learner.objective, device)
        self.compiled = compiled
        self.views = None
        if compiled:
            self.views = RecordedViews.of(learner.views, learner.memory_format, device)
            try:
                # A run has views of two sizes, at most; each stage of a method is a graph.
                mode = "reduce-overhead" if device.type == "cuda" else "default"
                learner.objective.compile(dynamic=False, mode=mode)
            except Exception as error:
                self._give_up(error)

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
            if is_out_of_memory(error):
                go_on = self._refuse
            elif self.compiled and _is_of_the_compiler(error):
                self._give_up(error)
                go_on = self._differentiate
            else:
                raise
        # Only here, where the error does not hold on to the tensors of the batch any more.
        return go_on(batch)

    def close(self) -> None:
        """Let go of the modules, of what is compiled, and of gradients, which may lie in it."""
        self._forget()
        self.random_numbers.close()
        self._close_compiled()

    def _forget(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    def _close_compiled(self) -> None:
        if self.compiled:
            self.compiled, self.views = False, None
            self.learner.objective._compiled_call_impl = None
            # The compiler keeps no more than a few versions of a function in a process.
            forward = type(self.learner.objective).forward
            torch._dynamo.reset_code(forward.__code__)
            gc.collect()  # compiled code refers to itself, and its graphs hold memory

    def _give_up(self, error: Exception) -> None:
        self._close_compiled()
        message = f"compile=True has no effect, the step does not compile: {first_line(error)}"
        warn_user(message, UserWarning)

    def _differentiate(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        self._forget()
        if self.compiled:  # what the last step left in the graph's memory is not needed any more
            torch.compiler.cudagraph_mark_step_begin()
        with collective.batch(len(batch["index"])):
            terms = self._terms(batch)
            values = torch.stack(list(terms.values()))  # what a graph returns is soon overwritten
            loss = values.sum()
            if loss.requires_grad:  # a method may only watch for an epoch
                self.scaler.scale(loss).backward()
        collective.average(p.grad for p in self.parameters if p.grad is not None)
        return loss, dict(zip(terms, values, strict=True))

    def _terms(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        objective = self.learner.objective
        if len(batch["index"]) == self.size and objective.steady:
            return self.learner(**batch, views=self._views(batch))
        compiled, objective._compiled_call_impl = objective._compiled_call_impl, None
        try:
            return self.learner(**batch)
        finally:
            objective._compiled_call_impl = compiled

    def _views(self, batch: dict[str, Tensor]) -> list[Tensor] | None:
        """Recorded views of a batch; None where they are not recorded."""
        if self.views is None:
            return None
        try:
            return self.views(batch["x"], batch.get("stretch"))
        except RuntimeError as error:  # the driver records no such thing
            if is_out_of_memory(error):
                raise
            self.views = None
            message = f"The views cannot be recorded, and take longer: {first_line(error)}"
            warn_user(message, UserWarning)
            return None

    def _refuse(self, batch: dict[str, Tensor]) -> Any:
        """Find a batch that fits, now that this training is over."""
        self.close()
        size, device = len(batch["index"]), batch["x"].device
        start = f"A batch of {size} samples does not fit the memory of {device}"
        if world_size() > 1:  # the other ranks would not take part in trials
            raise MemoryError(
                f"{start} on rank {rank()}, whose share is {len(batch['x'])}: take a smaller "
                "batch_size or more processes"
            )
        self.learner.views.reduced = None  # which later batches may not be
        # From small to large: what did not fit may leave memory in parts too small for anything.
        halves = [size >> i for i in range(1, size.bit_length() - 1)]
        fitting = list(itertools.takewhile(lambda n: self._fits(batch, n), reversed(halves)))
        if not fitting:
            raise MemoryError(f"{start}, nor does one of 2: take smaller images or a smaller net")
        raise MemoryError(f"{start}; one of {fitting[-1]} does: take batch_size={fitting[-1]}")

    def _fits(self, batch: dict[str, Tensor], size: int) -> bool:
        try:
            self._differentiate({name: rows[:size] for name, rows in batch.items()})
        except Exception as error:
            if is_out_of_memory(error):
                return False
            raise
        return True


def _is_of_the_compiler(error: Exception) -> bool:
    # Loaded by now: nothing else compiles.
    return isinstance(error, torch._dynamo.exc.TorchDynamoException)
