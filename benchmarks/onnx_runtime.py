"""A folded network in ONNX Runtime: its graph is written node by node, as ONNX has no name for ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from handgrad import layers
from handgrad.bench import machine
from handgrad.bench.workloads import Workload
from handgrad.graph import Graph

OPSET, IR_VERSION = 17, 8


def onnx_model(model: Graph) -> Any:
    """Return the ONNX model that computes what `model`, of a ResNet's folded layers, does on (n, c, h, w)."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants = [], []

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    names = ["x", *(node.name for node in model.nodes)]
    for node in model.nodes:
        inputs, layer, name = [names[i] for i in node.inputs], node.layer, node.name
        match layer:
            case layers.Conv2D(padding=int(p), strides=int(s)):
                w = constant(f"{name}.w", layer.weight.value.transpose(3, 2, 0, 1))
                b = constant(f"{name}.b", layer.bias.value)
                made = helper.make_node(
                    "Conv", [*inputs, w, b], [name], pads=[p, p, p, p], strides=[s, s], group=layer.groups
                )
            case layers.Dense():
                w, b = constant(f"{name}.w", layer.weight.value), constant(f"{name}.b", layer.bias.value)
                made = helper.make_node("Gemm", [*inputs, w, b], [name])
            case layers.ReLU():
                made = helper.make_node("Relu", inputs, [name])
            case layers.Add():
                made = helper.make_node("Add", inputs, [name])
            case layers.GlobalAveragePooling2D():
                nodes.append(helper.make_node("GlobalAveragePool", inputs, [f"{name}.image"]))
                made = helper.make_node("Flatten", [f"{name}.image"], [name])
            case _:
                raise TypeError(layer.where)
        nodes.append(made)
    h, w, c = model.input_shape
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", c, h, w])
    y = helper.make_tensor_value_info(names[-1], TensorProto.FLOAT, ["n", *model.output_shape])
    graph = helper.make_graph(nodes, "network", [x], [y], constants)
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION)


def inference_step(workload: Workload) -> Callable[[], np.ndarray]:
    """Return a function that returns the outputs for the workload's images."""
    import onnxruntime

    model = workload.model()
    x = workload.data(model)[0].transpose(0, 3, 1, 2).copy()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = machine.usable_threads()
    written = onnx_model(model.fold(keep_original=False)).SerializeToString()
    session = onnxruntime.InferenceSession(written, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x})[0]
