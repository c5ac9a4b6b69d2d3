"""Makes attention.json, what performer-pytorch and google-research's definitions compute from given q, k, v and
a projection of @favor/core's (projection.json, which a test draws again), and its sha256. Run once:
`python3 golden/make.py`; it makes golden/.venv from requirements.txt.
"""

import hashlib
import json
import subprocess
import sys
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENV = HERE / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def in_environment():
    """Goes on in the environment of requirements.txt, made if need be."""
    if Path(sys.prefix) == VENV:
        return
    if not PYTHON.exists():
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    subprocess.run([PYTHON, "-m", "pip", "install", "--quiet", "-r", HERE / "requirements.txt"], check=True)
    sys.exit(subprocess.run([PYTHON, __file__]).returncode)


in_environment()

import numpy as np
import torch
import performer_pytorch.performer_pytorch as performer

import google_research as google

HEADS, ROWS, DIM = 2, 20, 8


def numbers(array):
    """To 9 digits, which is exact for float32."""
    return [float(f"{x:.9g}") for x in np.asarray(array).ravel()]


def performer_attention(q, k, v, projection, *, epsilon=None, **options):
    """FastAttention's own forward pass; `epsilon` replaces what it adds to features and to causal sums."""
    layer = performer.FastAttention(q.shape[-1], nb_features=len(projection), **options).eval()
    layer.projection_matrix.copy_(torch.from_numpy(projection))
    softmax_kernel, causal_sums = performer.softmax_kernel, performer.causal_linear_attention_noncuda
    if epsilon is not None:
        performer.softmax_kernel = partial(softmax_kernel, eps=epsilon)
        if options.get("causal"):
            layer.causal_linear_fn = partial(causal_sums, eps=epsilon)
    try:
        with torch.no_grad():
            return layer(*(torch.from_numpy(x[None]) for x in (q, k, v)))[0].numpy()
    finally:
        performer.softmax_kernel = softmax_kernel


def performer_masked(x, projection, mask):
    """Attention's own forward pass with a padding mask, with weights of 1, so that q = k = v = x."""
    heads, _, dim = x.shape
    width = heads * dim
    layer = performer.SelfAttention(width, heads=heads, dim_head=dim, nb_features=len(projection)).eval()
    layer.fast_attention.projection_matrix.copy_(torch.from_numpy(projection))
    joined = torch.from_numpy(x.transpose(1, 0, 2).reshape(1, -1, width).copy())
    with torch.no_grad():
        for linear in (layer.to_q, layer.to_k, layer.to_v, layer.to_out):
            linear.weight.copy_(torch.eye(width))
            if linear.bias is not None:
                linear.bias.zero_()
        softmax_kernel = performer.softmax_kernel
        performer.softmax_kernel = partial(softmax_kernel, eps=0)
        out = layer(joined, mask=torch.from_numpy(mask)[None])
        performer.softmax_kernel = softmax_kernel
    return out[0].numpy().reshape(-1, heads, dim).transpose(1, 0, 2)


def main():
    generator = np.random.default_rng(2009_14794)
    draw = lambda: generator.standard_normal((HEADS, ROWS, DIM)).astype(np.float32)
    q, k, v = draw(), draw(), draw()
    drawn = np.array(json.loads((HERE / "projection.json").read_text())).reshape(-1, DIM)
    projection = drawn.astype(np.float32)
    mask = np.arange(ROWS) < 13
    # the last key alone is large: what a stabiliser over all keys makes of the rows before it
    later = k.copy()
    later[:, -1] = 12 * later[:, -1]
    wide = [*(x.astype(np.float64) for x in (q, k, v)), drawn]
    relu = lambda x: np.maximum(x, 0)

    def of_google(features, causal, stabilizer=0.0):
        query, key, value, rows = wide
        return google.attention(features(query, rows, True), features(key, rows, False), value, causal, stabilizer)

    generalized = {"epsilon": 0, "generalized_attention": True}
    positive = lambda epsilon: lambda x, rows, is_query: google.positive(x, rows, is_query, epsilon)
    waves = lambda x, rows, _: google.sine_cosine(x, rows)
    rectified = lambda x, rows, _: google.generalized(x, rows, relu, 1e-3)
    outputs = {
        "performer-pytorch": {
            "positive": performer_attention(q, k, v, projection, epsilon=0),
            "positive, causal": performer_attention(q, k, v, projection, epsilon=0, causal=True),
            "positive, as shipped": performer_attention(q, k, v, projection),
            "relu": performer_attention(q, k, v, projection, **generalized),
            "relu, causal": performer_attention(q, k, v, projection, **generalized, causal=True),
            "masked, q = k = v = query": performer_masked(q, projection, mask),
            "causal, as shipped": performer_attention(q, k, v, projection, causal=True),
            "causal, as shipped, last key large": performer_attention(q, later, v, projection, causal=True),
        },
        "google-research": {
            "positive": of_google(positive(0), False),
            "positive, causal": of_google(positive(0), True),
            "positive, as shipped": of_google(positive(1e-6), False, 1e-6),
            "sine and cosine": of_google(waves, False),
            "sine and cosine, causal": of_google(waves, True),
            "relu": of_google(rectified, False),
            "relu, causal": of_google(rectified, True),
            "givens, 8 x 8": google.givens_product(8, 0),
        },
    }
    fixture = {
        "versions": {"torch": torch.__version__, "performer-pytorch": "1.1.4", "numpy": np.__version__},
        "shape": {"heads": HEADS, "rows": ROWS, "dim": DIM},
        "mask": [int(x) for x in mask],
        **{name: numbers(x) for name, x in dict(query=q, key=k, value=v).items()},
        "keyWithLastLarge": numbers(later),
        "outputs": {source: {name: numbers(x) for name, x in each.items()} for source, each in outputs.items()},
    }
    text = json.dumps(fixture, separators=(",", ":")) + "\n"
    (HERE / "attention.json").write_text(text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    (HERE / "SHA256SUMS").write_text(f"{digest}  attention.json\n")


main()
