"""Models made ready for inference: what they compute with is packed once, instead of in every call."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np

from handgrad.errors import ArgumentError, DataError
from handgrad.graph.batches import batches
from handgrad.graph.executor import by_running_statistics
from handgrad.graph.fold import folded
from handgrad.graph.fuse import Match, Pattern, Uses, batch_norm_add_relu, batch_norm_relu, fuse
from handgrad.graph.graph import Graph
from handgrad.kernels import default_kernels, reuse_memory
from handgrad.layers import Add, Conv2D, Dense, Layer, Merge, ReLU, Run
from handgrad.layers.packed import Packed, PackedConv2D, PackedDense
from handgrad.layers.running_statistics import warn_of_unmoved
from handgrad.typing import Array, is_integer

_PACKED: dict[type[Layer], type[Packed]] = {Conv2D: PackedConv2D, Dense: PackedDense}


class Predictor:
    """A model made ready for inference: above all of one input, or a few, at a time.

    Batch normalizations are folded into the layers before them, as by `fold`; convolutions and dense layers
    take the additions and ReLU that follow them into the same pass over memory, and hold their parameters in
    the order, or transformed, as products read them. It computes what ``model.predict`` does, up to rounding.

    Parameters
    ----------
    model : Graph
        Is left as it is, and shares no memory with this: what is trained later is not seen here.
    batch_size : int, default 1
        How many inputs are to be computed at once. Any number may be given; this one decides how convolutions
        are computed, and so the outputs' last bits, which with compiled kernels do not depend on how many are
        given.
    precision : "float32", "strict" or "bfloat16", default "float32"
        Of the computation, as of `handgrad.kernels.select_kernels`.

    Attributes
    ----------
    input_shape, output_shape : tuple of int
        Of one input and one output.
    info : ModelInfo
        The model's: what its outputs mean, and what inputs have passed through.

    Raises
    ------
    ArgumentError
        If an argument is none of these.

    Warns
    -----
    UserWarning
        If running statistics that it normalizes by are still those that they began with.

    Notes
    -----
    A predictor does not change: threads can share it. Packed filters take the memory of the model's
    parameters and, of 3x3 convolutions at stride 1 that are computed by Winograd's algorithm, up to four
    times that. In bfloat16 those that are computed as sums of products take half of it where the processor
    multiplies bfloat16 (instruction sets ``"amx"``, where all but depthwise ones are, and ``"avx512bf16"``).

    Examples
    --------
    >>> import numpy as np, handgrad as hg
    >>> from handgrad.layers import Conv2D, Dense, Flatten, ReLU
    >>> model = hg.Sequential([Conv2D(8, 3), ReLU(), Flatten(), Dense(10)], input_shape=(8, 8, 1))
    >>> predictor = hg.Predictor(model)
    >>> x = hg.rng.Stream((1,)).normal((3, 8, 8, 1))
    >>> predictor.predict(x).shape
    (3, 10)
    >>> bool(np.allclose(predictor.predict(x), model.predict(x), atol=1e-5))
    True
    """

    @reuse_memory()
    def __init__(self, model: Graph, batch_size: int = 1, *, precision: str = "float32") -> None:
        if not isinstance(model, Graph):
            got = type(model).__name__
            raise ArgumentError("Predictor model", expected="a Graph or Sequential", got=got)
        if not is_integer(batch_size) or batch_size < 1:
            raise ArgumentError("Predictor batch_size", expected="an int, at least 1", got=repr(batch_size))
        if not isinstance(precision, str):
            expected = '"float32", "strict" or "bfloat16"'
            raise ArgumentError("Predictor precision", expected=expected, got=repr(precision))
        run = Run(kernels=default_kernels(precision))
        warn_of_unmoved(by_running_statistics(model, run))
        graph = fuse(folded(model, keep_original=False), _patterns(batch_size, run))
        self.batch_size = batch_size
        self.input_shape, self.output_shape = graph.input_shape, graph.output_shape
        self.info = graph.info
        self._graph = graph
        self._runs = [run.of(node.name) for node in graph.nodes]
        last = {i: k for k, node in enumerate(graph.nodes) for i in node.inputs}
        self._done = [{i for i in node.inputs if last[i] == k} for k, node in enumerate(graph.nodes)]

    @reuse_memory()
    def predict(self, x: Any) -> Array:
        """Return the outputs for `x`, computed `batch_size` at a time.

        Parameters
        ----------
        x : (n, ...)
            Inputs: any array of real numbers, also memory-mapped; each batch is converted by itself. Or a
            `handgrad.data.Dataset`, whose labels are passed over.

        Returns
        -------
        (n, ...)

        Raises
        ------
        ShapeError
            If it is not a batch of inputs of the model.
        DataError
            If it is complex.
        """
        return np.concatenate([self._outputs(xb) for xb in batches(self._graph, x, self.batch_size)])

    def _outputs(self, x: Any) -> Array:
        values: list[Any] = [self._graph.check_input(x)]
        if np.iscomplexobj(values[0]):
            raise DataError("Predictor", expected="real inputs", got=f"dtype {values[0].dtype}")
        for node, run, done in zip(self._graph.nodes, self._runs, self._done, strict=True):
            inputs = tuple(values[i] for i in node.inputs)
            y, _ = node.layer.forward(inputs if isinstance(node.layer, Merge) else inputs[0], run)
            values.append(y)
            for i in done:
                values[i] = None
        outputs: Array = values[-1]
        return outputs


def _patterns(n: int, run: Run) -> Iterable[Pattern]:
    """Return what is looked for, the longest groups first."""
    yield batch_norm_add_relu
    yield batch_norm_relu
    for relu, add in ((True, True), (True, False), (False, True), (False, False)):
        yield partial(_packed, relu=relu, add=add, n=n, run=run)


def _packed(uses: Uses, k: int, *, relu: bool, add: bool, n: int, run: Run) -> Match | None:
    """Match Conv2D or Dense [-> Add, of that and anything else] [-> ReLU]."""

    def computes(value: int, *kinds: type[Layer]) -> int | None:
        """Return the position of the node that computes a value for this group alone, if it is of a kind."""
        of_kind = value > 0 and type(uses.nodes[value - 1].layer) in kinds
        return value - 1 if of_kind and (value == k + 1 or uses.count[value] == 1) else None

    group: tuple[int, ...] = ()
    value = k + 1
    if relu:
        if computes(value, ReLU) is None:
            return None
        group, (value,) = (k,), uses.nodes[k].inputs
    options: list[tuple[int, tuple[int, ...]]] = [(value, ())]
    if add:
        position = computes(value, Add)
        if position is None or len(uses.nodes[position].inputs) != 2:
            return None
        group, (early, late) = (position, *group), sorted(uses.nodes[position].inputs)
        options = [(late, (early,)), (early, (late,))]  # what runs last moves least
    for value, others in options:
        if (position := computes(value, *_PACKED)) is not None:
            node = uses.nodes[position]
            shape = uses.shapes[node.inputs[0]]
            layer = _PACKED[type(node.layer)](node.layer, shape, relu, n, run)
            return Match((position, *group), node.name, layer, (*node.inputs, *others))
    return None
