"""FAVOR as google-research's performer/fast_attention defines it, written anew in numpy from its formulas.

Definitions followed: jax/fast_attention.py (features, renormalisation) and tensorflow/fast_attention.py (the product of
Givens rotations), their faults included. float64; q, k `[heads, rows, dim]`, v `[heads, rows, values]`,
projection `[count, dim]`.
"""

import math

import numpy as np


def _log_positive(x, projection):
    """w.x and |x|^2 / 2, for x times dim^(-1/4)."""
    scaled = x * x.shape[-1] ** -0.25
    return scaled @ projection.T, (scaled**2).sum(-1, keepdims=True) / 2


def positive(x, projection, is_query, epsilon):
    """exp(w.x - |x|^2/2 - stabiliser) + epsilon; the stabiliser of keys is the maximum over all of them."""
    dash, half_norm = _log_positive(x, projection)
    stabiliser = dash.max(-1 if is_query else (-2, -1), keepdims=True)
    return (np.exp(dash - half_norm - stabiliser) + epsilon) / math.sqrt(len(projection))


def sine_cosine(x, projection):
    """exp(|x|^2/2) [cos(w.x), sin(w.x)], with the largest |x|^2/2 taken out."""
    dash, half_norm = _log_positive(x, projection)
    waves = np.concatenate([np.cos(dash), np.sin(dash)], -1) / math.sqrt(len(projection))
    return waves * np.exp(half_norm - half_norm.max(-2, keepdims=True))


def generalized(x, projection, function, epsilon):
    """function(w.x) + epsilon."""
    return function(_log_positive(x, projection)[0]) + epsilon


def attention(query_features, key_features, v, causal, stabilizer):
    """phi(Q) (phi(K)^T V) over phi(Q) (phi(K)^T 1), by prefix sums where causal."""
    weights = query_features @ key_features.swapaxes(-1, -2)
    if causal:
        weights = np.tril(weights)
    normaliser = weights.sum(-1, keepdims=True)
    normaliser = normaliser + 2 * stabilizer * (np.abs(normaliser) <= stabilizer)
    return weights @ v / normaliser


def givens_product(dim, seed):
    """A product of dim ceil(ln dim) rotations in planes drawn with replacement: plane (i, i) shrinks row i."""
    generator = np.random.RandomState(seed)
    product = np.eye(dim)
    for _ in range(dim * math.ceil(math.log(dim))):
        angle = math.pi * generator.uniform()
        i, j = sorted(generator.choice(dim, 2))
        row_i, row_j = product[i].copy(), product[j].copy()
        product[i] = math.cos(angle) * row_i + math.sin(angle) * row_j
        product[j] = -math.sin(angle) * row_i + math.cos(angle) * row_j
    return product
