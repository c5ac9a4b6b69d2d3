"""Writes ONNX's own tests of single operators, those of the installed onnx wheel, as JSON Lines to stdout.

Each line: {"name", "rtol", "atol", "model", "values"}, the latter two serialised ModelProto in base64; the initializers
of `values` are the inputs, named "in.<name>", and the expected outputs, named "out.<name>". `values` is null where one
of them is no tensor of numbers: a string, a sequence or an optional value.
"""

import base64
import json
import warnings

import numpy as np
import onnx
from onnx.backend.test.case.node import collect_testcases

NOT_NUMERIC = {onnx.TensorProto.UNDEFINED, onnx.TensorProto.STRING}


def proto(value, info, prefix):
    if not isinstance(value, onnx.TensorProto):
        if value is None or isinstance(value, list) or info.type.WhichOneof("value") != "tensor_type":
            return None
        value = onnx.numpy_helper.from_array(np.asarray(value))
    if value.data_type in NOT_NUMERIC:
        return None
    value.name = prefix + info.name
    return value


def values(case):
    graph = case.model.graph
    given, results = case.data_sets[0]
    tensors = [proto(value, info, "in.") for value, info in zip(given, graph.input)]
    tensors += [proto(value, info, "out.") for value, info in zip(results, graph.output)]
    if None in tensors:
        return None
    made = onnx.ModelProto(ir_version=case.model.ir_version, opset_import=case.model.opset_import)
    made.graph.initializer.extend(tensors)
    return encoded(made)


def encoded(model):
    return base64.b64encode(model.SerializeToString()).decode()


def main():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    for case in sorted(cases, key=lambda case: case.name):
        line = {"name": case.name, "rtol": case.rtol, "atol": case.atol}
        print(json.dumps({**line, "model": encoded(case.model), "values": values(case)}))


main()
