"""The forms in which one checkpoint lies on a disk: names, precisions, files, and what config.json says.

Every form means the same to transformers, so the expected outputs are those of the model that was saved.
"""

import json

import torch
from safetensors.torch import save_file

from architectures import GENERATION

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16, "float64": torch.float64}


def weights_of(random, model, base_class) -> tuple[dict, list[str]]:
    """The state dict under the names that someone may have saved it with, and what was done to them."""
    state = dict(model.state_dict())
    prefix = f"{model.base_model_prefix}."
    is_bare = type(model) is base_class
    done = []

    def rename(change) -> None:
        nonlocal state
        state = {change(name): value for name, value in state.items()}

    if random.random() < 0.1:
        done.append("gamma and beta")
        rename(lambda name: name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"))
    if is_bare and random.random() < 0.4:
        done.append("prefix added")
        rename(lambda name: prefix + name)
    elif not is_bare and random.random() < 0.1:
        done.append("prefix dropped")
        rename(lambda name: name.removeprefix(prefix))
    if random.random() < 0.15:
        wrapper = random.choice(["module.", "model.", "_orig_mod.", "module._orig_mod.", "net.encoder.", "_fsdp_wrapped_module."])
        done.append(f"within {wrapper}")
        rename(lambda name: wrapper + name)
    if random.random() < 0.1:
        done.append("compiled layers")
        rename(lambda name: name.replace("layer.0.", "layer.0._orig_mod.").replace("layers.0.", "layers.0._orig_mod."))
    if random.random() < 0.15 and any("word_embeddings" in name for name in state):
        name = next(name for name in state if name.endswith("embeddings.word_embeddings.weight"))
        done.append("buffers")
        state[name.replace("word_embeddings.weight", "position_ids")] = torch.arange(32).unsqueeze(0)
    return state, done


def without_twins(random, state: dict) -> tuple[dict, list[str], list[str]]:
    """Tensors that share memory, once: what safetensors can hold. Which of the names stays is up to the writer."""
    by_storage: dict = {}
    for name, value in state.items():
        by_storage.setdefault((value.data_ptr(), tuple(value.shape)), []).append(name)
    kept, dropped = {}, []
    keep_last = random.random() < 0.3
    for names in by_storage.values():
        name = sorted(names)[0] if keep_last else names[0]
        kept[name] = state[name].contiguous().clone()
        dropped += [other for other in names if other != name]
    return kept, dropped, (["first twin by name"] if keep_last and dropped else [])


def save_weights(random, state: dict, dtype, folder) -> list[str]:
    form = random.choice(["safetensors", "safetensors", "sharded safetensors", "bin", "sharded bin", "twins in safetensors"])
    cast = lambda value: value.to(dtype) if value.is_floating_point() else value
    done = [form]
    if form.endswith("bin"):
        tensors, dropped = {name: value for name, value in state.items()}, []
        # One storage for both names of a tied weight, as a module saves them.
        copies: dict = {}
        tensors = {name: copies.setdefault(value.data_ptr(), cast(value)) for name, value in tensors.items()}
        tensors = {name: value.view(state[name].shape) for name, value in tensors.items()}
    else:
        if form == "twins in safetensors":
            tensors, dropped = {name: value.contiguous().clone() for name, value in state.items()}, []
        else:
            tensors, dropped, notes = without_twins(random, state)
            done += notes
        tensors = {name: cast(value).contiguous() for name, value in tensors.items()}
    extension = "bin" if form.endswith("bin") else "safetensors"
    stem = "pytorch_model" if extension == "bin" else "model"
    save = torch.save if extension == "bin" else save_file
    if not form.startswith("sharded"):
        save(tensors, folder / f"{stem}.{extension}")
        return done
    count = random.randint(2, 4)
    files = [f"{stem}-{index + 1:05}-of-{count:05}.{extension}" for index in range(count)]
    parts: list[dict] = [{} for _ in files]
    for index, (name, value) in enumerate(tensors.items()):
        parts[index * count // len(tensors)][name] = value
    places = {name: file for file, part in zip(files, parts) for name in part}
    if dropped and random.random() < 0.5:
        done.append("index names tied weights")
        places |= {name: files[-1] for name in dropped}
    if random.random() < 0.5 and any(name.endswith(("position_ids", "inv_freq")) for name in tensors):
        done.append("index lacks a buffer")
        places = {name: file for name, file in places.items() if not name.endswith(("position_ids", "inv_freq"))}
    for file, part in zip(files, parts):
        save({name: value.clone() for name, value in part.items()}, folder / file)
    index_file = folder / f"{stem}.{extension}.index.json"
    index_file.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    return done


def configuration_of(random, model) -> tuple[dict, list[str]]:
    """config.json as transformers saves it, or as older versions, other tools and people write it."""
    config = model.config
    config.architectures = [type(model).__name__]
    done = []
    whole = random.random() < 0.3
    values = config.to_dict() if whole else config.to_diff_dict()
    if whole:
        done.append("all keys")
    values["model_type"] = config.model_type
    defaults = type(config)().to_dict()
    if random.random() < 0.2:
        done.append("defaults left out")
        values = {name: value for name, value in values.items() if name in KEPT or defaults.get(name, "none") != value}
    for own, other in type(config).attribute_map.items():
        # attribute_map gives the type's own name by the common one.
        if other in values and random.random() < 0.3:
            done.append(f"{own} for {other}")
            values[own] = values.pop(other)
        elif other in values and random.random() < 0.1:
            done.append(f"{own} and {other}")
            values[own] = values[other]
    if config.model_type == "modernbert" and GENERATION == 5:
        done += former_modernbert(random, values)
    if random.random() < 0.1:
        done.append("no architectures")
        del values["architectures"]
    elif random.random() < 0.05:
        done.append("a class of one's own")
        values["architectures"] = ["Custom"]
    if values.get("tie_word_embeddings") is False and random.random() < 0.5:
        done.append("tied by the flag, not by the weights")
        values["tie_word_embeddings"] = True
    if "id2label" in values and random.random() < 0.2:
        done.append("num_labels")
        values["num_labels"] = len(values.pop("id2label"))
        values.pop("label2id", None)
    if random.random() < 0.1:
        done.append("keys without meaning")
        values |= {"gradient_checkpointing": False, "_num_labels": 2, "output_past": True, "torch_dtype": "float16"}
    values.pop("_attn_implementation", None)
    return values, done


KEPT = ["architectures", "model_type", "tie_word_embeddings", "id2label", "label2id"]


def former_modernbert(random, values: dict) -> list[str]:
    """What transformers 5 reads as well: the settings of transformers 4, and half the window by another name."""
    done = []
    if "rope_parameters" not in values:
        pass
    elif random.random() < 0.3:
        parameters = values.pop("rope_parameters")
        values["global_rope_theta"] = parameters["full_attention"]["rope_theta"]
        values["local_rope_theta"] = parameters["sliding_attention"]["rope_theta"]
        done.append("global_rope_theta and local_rope_theta")
    elif random.random() < 0.2:
        parameters = values["rope_parameters"]
        values["local_rope_theta"] = parameters.pop("sliding_attention")["rope_theta"]
        done.append("half of rope_parameters")
    if "local_attention" in values and random.random() < 0.2:
        values["sliding_window"] = values.pop("local_attention") // 2
        done.append("sliding_window")
    return done
