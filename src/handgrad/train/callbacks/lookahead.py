"""Weights that are averaged while they are trained."""

from __future__ import annotations

from handgrad.arguments import check_count, check_number
from handgrad.errors import CheckpointError
from handgrad.layers import Buffer, Parameter
from handgrad.optim import Schedule
from handgrad.train.callbacks.callback import Callback
from handgrad.train.uninterrupted import uninterrupted
from handgrad.typing import Array, Config


class Lookahead(Callback):
    r"""Every few steps goes back a part of the way, to an average of the steps so far, and goes on there.

    Put it before callbacks that save or look at the model.

    Parameters
    ----------
    every : int, default 5
        Steps between two averages.
    decay : float or Schedule, default 0.5
        How much of the average is kept, from 0 (nothing, so that training is as without it) to 1; or what it
        is by the number of steps done.

    Raises
    ------
    ArgumentError
        If `every` is below 1 or `decay` not in 0..1.

    Notes
    -----
    With the trained values p and slow values s, which begin as p was before the first step, after every k-th
    step

    .. math:: s \leftarrow \beta\, s + (1 - \beta)\, p, \qquad p \leftarrow s .

    It takes all parameters and the running statistics with them; whole numbers, such as counts of updates,
    are left as they are. The optimizer's state is not changed. Slow values are part of a checkpoint, so that
    a resumed run goes on bit for bit. With a decay that grows from 0 towards 1 the last steps are averages of
    many.

    References
    ----------
    M. R. Zhang, J. Lucas, G. Hinton and J. Ba, "Lookahead optimizer: k steps forward, 1 step back", NeurIPS
    2019, in which :math:`1 - \beta` is called alpha.
    """

    def __init__(self, every: int = 5, decay: float | Schedule = 0.5) -> None:
        check_count("Lookahead", "every", every)
        if not isinstance(decay, Schedule):
            check_number("Lookahead", "decay", decay, most=1.0)
        self.every, self.decay = every, decay
        self._slow: dict[str, Array] = {}

    def on_train_begin(self) -> None:
        """Begin with the values that there are, where no checkpoint has others."""
        values = {name: of.value for name, of in self._averaged().items()}
        if not self._slow:
            self._slow = {name: value.copy() for name, value in values.items()}
        elif {n: a.shape for n, a in self._slow.items()} != {n: a.shape for n, a in values.items()}:
            raise CheckpointError(
                "Lookahead", expected="slow values of this model", got="those of another that was saved"
            )

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        """Average, where it is time."""
        done = self.trainer.progress.step
        if done % self.every:
            return
        decay = float(self.decay(done) if isinstance(self.decay, Schedule) else self.decay)
        averaged = self._averaged()
        slow = {name: decay * self._slow[name] + (1 - decay) * of.value for name, of in averaged.items()}
        with uninterrupted():
            self._slow = slow
            for name, of in averaged.items():
                of.assign(slow[name])

    def arrays(self) -> dict[str, Array]:
        """Return the slow values."""
        return self._slow

    def load_state(self, state: Config, arrays: dict[str, Array]) -> None:
        """Go on from there."""
        self._slow = {name: a.copy() for name, a in arrays.items()}

    def _averaged(self) -> dict[str, Parameter | Buffer]:
        model = self.trainer.model
        both: dict[str, Parameter | Buffer] = {**model.parameters(), **model.buffers()}
        return {name: of for name, of in both.items() if of.value.dtype.kind == "f"}
