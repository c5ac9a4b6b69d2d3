"""Times PyTorch's SDPA and performer-pytorch on one thread; prints one JSON object per line.

Usage: attention.py '{"heads": 8, "dim": 64, "count": 128, "lengths": [512], "seconds": 2}'
"""

import json
import sys
import time

# performer-pytorch prints remarks; the results go to the real standard output
results, sys.stdout = sys.stdout, sys.stderr

import torch
import torch.nn.functional as F
from performer_pytorch import FastAttention


def best(run, seconds):
    """The shortest of several runs after a warm-up, in milliseconds."""
    run()
    shortest = float("inf")
    end = time.perf_counter() + seconds
    runs = 0
    while runs < 3 or (time.perf_counter() < end and runs < 50):
        start = time.perf_counter()
        run()
        shortest = min(shortest, time.perf_counter() - start)
        runs += 1
    return 1000 * shortest


def main():
    setting = json.loads(sys.argv[1])
    heads, dim, count, seconds = (setting[name] for name in ("heads", "dim", "count", "seconds"))
    torch.set_num_threads(1)
    torch.manual_seed(0)
    size = 1024
    a, b = torch.randn(size, size), torch.randn(size, size)
    print(json.dumps({"sgemm": 2 * size**3 / best(lambda: a @ b, seconds) / 1e6, "torch": torch.__version__}), file=results)
    with torch.inference_mode():
        for length in setting["lengths"]:
            q, k, v = (0.5 * torch.randn(1, heads, length, dim) for _ in range(3))
            for causal in (False, True):
                performer = FastAttention(dim, nb_features=count, causal=causal).eval()
                timings = {
                    "sdpa": lambda: F.scaled_dot_product_attention(q, k, v, is_causal=causal),
                    "performer-pytorch": lambda: performer(q, k, v),
                }
                for name, run in timings.items():
                    line = {"name": name, "causal": causal, "length": length, "milliseconds": best(run, seconds)}
                    print(json.dumps(line), file=results, flush=True)


main()
