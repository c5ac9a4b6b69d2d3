"""Writes packages/tfjs/test/fixtures/keras-attention.json: MultiHeadAttention of Keras, weights, inputs and outputs.

Run with KERAS_BACKEND=torch and the packages of requirements.txt: python attention.py
"""

import json
import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras  # noqa: E402
import numpy as np  # noqa: E402

CASES = [
    ("self", dict(num_heads=2, key_dim=3), dict()),
    ("self, causal", dict(num_heads=2, key_dim=3), dict(use_causal_mask=True)),
    ("padding mask", dict(num_heads=2, key_dim=3, value_dim=4), dict(padding=True)),
    ("cross, no bias", dict(num_heads=3, key_dim=2, value_dim=5, use_bias=False), dict(cross=True)),
    ("mask per query", dict(num_heads=2, key_dim=3), dict(attention_mask=True)),
]


def numbers(array):
    array = np.asarray(array)
    return {"shape": list(array.shape), "values": [float(np.float32(x)) for x in array.ravel()]}


def make(name, arguments, call, rng):
    query = rng.standard_normal((2, 5, 6)).astype("float32")
    value = rng.standard_normal((2, 4, 7)).astype("float32") if call.get("cross") else query
    layer = keras.layers.MultiHeadAttention(**arguments)
    layer.build(query.shape, value.shape)
    layer.set_weights([rng.standard_normal(w.shape).astype("float32") * 0.5 for w in layer.weights])
    options = {}
    if call.get("use_causal_mask"):
        options["use_causal_mask"] = True
    case = {"name": name, "arguments": {**arguments}, "query": numbers(query)}
    if call.get("cross"):
        case["value"] = numbers(value)
    if call.get("padding"):
        mask = np.array([[1, 1, 1, 0, 0], [1, 0, 1, 1, 1]], dtype=bool)
        options["value_mask"] = mask
        case["mask"] = numbers(mask)
    if call.get("attention_mask"):
        mask = rng.random((2, 5, 5)) > 0.4
        mask[:, :, 0] = True
        options["attention_mask"] = mask
        case["attentionMask"] = numbers(mask)
    case["causal"] = bool(call.get("use_causal_mask"))
    output, scores = layer(query, value, return_attention_scores=True, **options)
    case["weights"] = [{"name": "/".join(w.path.split("/")[-2:]), **numbers(w.value.detach())} for w in layer.weights]
    case["output"] = numbers(output.detach())
    case["scores"] = numbers(scores.detach())
    return case


if __name__ == "__main__":
    generator = np.random.default_rng(7)
    golden = {"keras": keras.__version__, "cases": [make(*case, generator) for case in CASES]}
    target = Path(__file__).parents[4] / "packages/tfjs/test/fixtures/keras-attention.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
