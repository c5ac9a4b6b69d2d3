"""Files of torch.save that @favor/onnx must read, or must refuse without executing anything.

Writes packages/checkpoints/test/formats/fixtures/: tensors.bin (every element type, strided views, shared storages,
parameters) with the same values in tensors.safetensors; wrapped.bin (a training checkpoint), legacy.bin (the form
before PyTorch 1.6). The hostile pickles are made by the tests themselves, byte by byte.

    venv/bin/python make_pytorch_files.py      (the environment of make_architectures.py)
"""

from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import save_file

TARGET = Path(__file__).resolve().parents[4] / "packages/checkpoints/test/formats/fixtures"


def tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    grid = torch.randn(4, 6)
    values: dict[str, torch.Tensor] = {
        name: grid.to(getattr(torch, name))
        for name in ("float32", "float64", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "complex64")
    }
    whole = torch.randint(0, 100, (3, 5))
    for name in ("int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64", "bool"):
        values[name] = whole.to(getattr(torch, name))
    shared = torch.randn(10, 8)
    values["shared"] = shared
    values["transposed"] = shared.t()
    values["columns"] = shared[2:9:3, 1:7:2]
    values["row"] = shared[4]
    values["permuted"] = torch.randn(2, 3, 4).permute(2, 0, 1)
    values["permuted16"] = torch.randn(3, 4).to(torch.float16).t()
    values["permuted64"] = torch.randn(3, 4).to(torch.float64).t()
    values["permuted8"] = whole.to(torch.uint8).t()
    values["expanded"] = torch.arange(6).expand(1, -1)
    values["repeated"] = torch.arange(3).expand(4, 3)
    values["scalar"] = torch.tensor(2.5)
    values["empty"] = torch.empty(0, 3)
    return values


if __name__ == "__main__":
    TARGET.mkdir(parents=True, exist_ok=True)
    state = OrderedDict(tensors())
    state["parameter"] = torch.nn.Parameter(state["float32"] + 1)
    # As nn.Module.state_dict has it.
    state._metadata = OrderedDict({"": {"version": 1}})
    torch.save(state, TARGET / "tensors.bin")
    save_file({name: value.detach().clone().contiguous() for name, value in state.items()}, TARGET / "tensors.safetensors")
    small = torch.nn.Linear(3, 2).state_dict()
    torch.save({"epoch": 3, "lr": 1e-4, "done": True, "name": None, "state_dict": small}, TARGET / "wrapped.bin")
    training = {"rng_state": torch.arange(4), "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}}, "model": small}
    torch.save(training, TARGET / "training.bin")
    averaged = {name: 2 * value for name, value in small.items()}
    torch.save({"model": small, "ema": averaged}, TARGET / "several.bin")
    torch.save(small, TARGET / "protocol4.bin", pickle_protocol=4)
    torch.save(small, TARGET / "legacy.bin", _use_new_zipfile_serialization=False)
    torch.save(torch.nn.Linear(3, 2), TARGET / "module.bin")
    torch.jit.save(torch.jit.script(torch.nn.Linear(3, 2)), TARGET / "torchscript.bin")
