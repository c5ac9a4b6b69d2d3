"""Writes random small checkpoints, and what transformers computes from them. `npm run transformers` runs this.

    make_checkpoints.py --seed 1 --from 0 --to 300 --out folder

Case i is a folder out/i: a checkpoint in one of its forms, and expected.safetensors with inputs (in.*) and the output
(out.*), computed in float32 from the values that were saved. For every case one line of JSON goes to stdout: its number,
what it is, and what transformers says about the folder when it loads it again (`reloaded`). The same seed gives the same
cases.
"""

import argparse
import json
import logging
import random as randomness
import warnings
from pathlib import Path

import torch
import transformers as tf
from safetensors.torch import save_file

from architectures import GENERATION, draw
from on_disk import DTYPES, configuration_of, save_weights, weights_of

OUTPUTS = ["prediction_logits", "logits", "seq_relationship_logits", "start_logits", "last_hidden_state"]


def randomise(model: torch.nn.Module) -> None:
    """Weights far from their initial values, so that every one of them shows in the output."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape)
            if parameter.dim() > 1:
                parameter.copy_(0.4 * noise)
            else:
                parameter.copy_((1.0 if name.lower().endswith("norm.weight") else 0.0) + 0.2 * noise)


def sample(random, config) -> dict[str, torch.Tensor]:
    """Rows of tokens, all but the first padded on the right; mask tokens where the configuration has one."""
    rows, length = random.randint(1, 3), random.randint(7, 14)
    ids = torch.randint(5, config.vocab_size - 1, (rows, length))
    mask = torch.ones_like(ids)
    for row in range(1, rows):
        mask[row, random.randint(3, length) :] = 0
    ids[mask == 0] = config.pad_token_id if config.pad_token_id is not None else 0
    if config.model_type == "esm":
        ids[ids == config.mask_token_id] = 5
        # transformers 4.57 counts padding when it scales for mask tokens (its embeddings see no mask): only whole rows.
        ids[mask.all(dim=1), 2] = config.mask_token_id
    inputs = {"input_ids": ids, "attention_mask": mask}
    if config.model_type in ("bert", "albert", "electra"):
        inputs["token_type_ids"] = torch.randint(0, config.type_vocab_size, ids.shape)
    return inputs


def run(model, inputs: dict) -> tuple[str, torch.Tensor]:
    if type(model).__name__.endswith("ForMultipleChoice"):
        inputs = {name: value.unsqueeze(1) for name, value in inputs.items()}
    with torch.no_grad():
        output = model(**inputs)
    key = next(key for key in OUTPUTS if key in output)
    return key.removeprefix("prediction_"), output[key]


def reload(model_class, folder, inputs: dict, expected: torch.Tensor) -> str:
    """Whether transformers, loading the folder, computes the same; it does not understand every form that people use."""
    try:
        model, info = model_class.from_pretrained(
            folder, dtype=torch.float32, output_loading_info=True, attn_implementation="eager"
        )
        if info["missing_keys"]:
            return "lacks weights"
        found = run(model.eval(), inputs)[1]
    except Exception as error:
        return f"refuses: {type(error).__name__}"
    if found.shape != expected.shape:
        return "differs"
    return "equal" if torch.allclose(found, expected, atol=2e-4, rtol=1e-4, equal_nan=True) else "differs"


def write(random, model, dtype: torch.dtype, drawn, folder: Path) -> list[str]:
    """Writes the checkpoint as transformers does, or in another of its forms. The model may be of another type afterwards."""
    if random.random() < 0.25:
        size = random.choice(["1GB", "3KB"])
        pickled = GENERATION == 4 and random.random() < 0.4
        model.to(dtype).save_pretrained(folder, max_shard_size=size, **({"safe_serialization": False} if pickled else {}))
        model.float()
        return [f"save_pretrained, {'bin' if pickled else 'safetensors'} of {size}"]
    state, names = weights_of(random, model, drawn.base_class)
    files = save_weights(random, state, dtype, folder)
    values, settings = configuration_of(random, model)
    (folder / "config.json").write_text(json.dumps(values, indent=2))
    return [*names, *files, *settings]


def make(index: int, seed: int, out: Path) -> dict:
    random = randomness.Random(f"{seed}:{index}")
    torch.manual_seed(random.getrandbits(32))
    drawn = draw(random)
    model = drawn.model_class(drawn.config).eval()
    randomise(model)
    dtype = random.choice(list(DTYPES))
    # The values that are saved are the values that are computed with. Buffers that are not saved stay as they are.
    unsaved = {name: value for name, value in model.named_buffers() if name not in model.state_dict()}
    model.to(DTYPES[dtype]).float()
    for name, value in unsaved.items():
        module, _, own = name.rpartition(".")
        setattr(model.get_submodule(module), own, value)
    inputs = sample(random, model.config)
    key, output = run(model, inputs)
    folder = out / str(index)
    folder.mkdir(parents=True)
    form = write(random, model, DTYPES[dtype], drawn, folder)
    arrays = {f"in.{name}": value.contiguous() for name, value in inputs.items()}
    save_file(arrays | {f"out.{key}": output.contiguous()}, folder / "expected.safetensors")
    return {
        "index": index,
        "class": drawn.model_class.__name__,
        "form": [dtype, *form],
        "reloaded": reload(drawn.model_class, folder, inputs, output),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ["--seed", "--from", "--to"]:
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = vars(parser.parse_args())
    torch.set_num_threads(1)
    tf.logging.set_verbosity_error()
    tf.utils.logging.disable_progress_bar()
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    for case in range(arguments["from"], arguments["to"]):
        print(json.dumps(make(case, arguments["seed"], arguments["out"])), flush=True)
