"""Small random checkpoints of every architecture that @favor/onnx builds, with what transformers computes from them.

Writes packages/checkpoints/test/builders/fixtures/<case>/: config.json and model.safetensors as `save_pretrained` writes
them, and sample.safetensors with the inputs (in.*) and the output (out.*) of the model in float32, evaluation mode,
eager attention. The same seed gives the same files.

    python3 -m venv venv && venv/bin/pip install -r requirements.txt && venv/bin/python make_architectures.py
"""

import shutil
from pathlib import Path

import torch
import transformers as tf
from safetensors.torch import save_file

TARGET = Path(__file__).resolve().parents[4] / "packages/checkpoints/test/builders/fixtures"
VOCABULARY = 24

BERT = dict(
    vocab_size=VOCABULARY, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12,
    max_position_embeddings=16, num_labels=3,
)
ROBERTA = BERT | dict(pad_token_id=1, bos_token_id=0, eos_token_id=2, type_vocab_size=1, layer_norm_eps=1e-5)
DISTIL = dict(vocab_size=VOCABULARY, dim=8, n_layers=2, n_heads=2, hidden_dim=12, max_position_embeddings=16, num_labels=3)
ALBERT = BERT | dict(
    num_hidden_layers=4, num_hidden_groups=2, inner_group_num=2, embedding_size=6, pad_token_id=0, bos_token_id=2, eos_token_id=3
)
ELECTRA = BERT | dict(embedding_size=6)
ESM = BERT | dict(
    pad_token_id=1, mask_token_id=20, position_embedding_type="rotary", token_dropout=True, layer_norm_eps=1e-5,
    emb_layer_norm_before=False, vocab_list=None,
)
MODERN = BERT | dict(
    num_hidden_layers=4, global_attn_every_n_layers=3, local_attention=6, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    cls_token_id=1, sep_token_id=2, max_position_embeddings=64,
)

# name: (class of the configuration, its values, class of the model, type in which the weights are saved)
CASES = {
    "bert-mlm": (tf.BertConfig, BERT, tf.BertForMaskedLM),
    "bert-pretraining": (tf.BertConfig, BERT | dict(hidden_act="gelu_new"), tf.BertForPreTraining),
    "bert-sequence": (tf.BertConfig, BERT | dict(hidden_act="relu"), tf.BertForSequenceClassification),
    "bert-token": (tf.BertConfig, BERT | dict(hidden_act="silu"), tf.BertForTokenClassification),
    "bert-none": (tf.BertConfig, BERT, tf.BertModel),
    "bert-float16": (tf.BertConfig, BERT, tf.BertModel, torch.float16),
    "bert-bfloat16": (tf.BertConfig, BERT, tf.BertModel, torch.bfloat16),
    "bert-untied": (tf.BertConfig, BERT | dict(tie_word_embeddings=False), tf.BertForMaskedLM),
    "roberta-mlm": (tf.RobertaConfig, ROBERTA, tf.RobertaForMaskedLM),
    "roberta-sequence": (tf.RobertaConfig, ROBERTA, tf.RobertaForSequenceClassification),
    "xlm-roberta-token": (tf.XLMRobertaConfig, ROBERTA, tf.XLMRobertaForTokenClassification),
    "xlm-roberta-none": (tf.XLMRobertaConfig, ROBERTA, tf.XLMRobertaModel),
    "camembert-mlm": (tf.CamembertConfig, ROBERTA, tf.CamembertForMaskedLM),
    "distilbert-mlm": (tf.DistilBertConfig, DISTIL, tf.DistilBertForMaskedLM),
    "distilbert-sequence": (tf.DistilBertConfig, DISTIL, tf.DistilBertForSequenceClassification),
    "distilbert-token": (tf.DistilBertConfig, DISTIL, tf.DistilBertForTokenClassification),
    "distilbert-none": (tf.DistilBertConfig, DISTIL, tf.DistilBertModel),
    "albert-mlm": (tf.AlbertConfig, ALBERT, tf.AlbertForMaskedLM),
    "albert-sequence": (tf.AlbertConfig, ALBERT, tf.AlbertForSequenceClassification),
    "albert-token": (tf.AlbertConfig, ALBERT | dict(num_hidden_groups=1, inner_group_num=1), tf.AlbertForTokenClassification),
    "electra-mlm": (tf.ElectraConfig, ELECTRA, tf.ElectraForMaskedLM),
    "electra-sequence": (tf.ElectraConfig, ELECTRA, tf.ElectraForSequenceClassification),
    "electra-token": (tf.ElectraConfig, ELECTRA | dict(embedding_size=8), tf.ElectraForTokenClassification),
    "electra-none": (tf.ElectraConfig, ELECTRA, tf.ElectraModel),
    "esm-mlm": (tf.EsmConfig, ESM, tf.EsmForMaskedLM),
    "esm-sequence": (tf.EsmConfig, ESM | dict(token_dropout=False), tf.EsmForSequenceClassification),
    "esm-token": (tf.EsmConfig, ESM, tf.EsmForTokenClassification),
    "esm-absolute": (
        tf.EsmConfig,
        ESM | dict(position_embedding_type="absolute", emb_layer_norm_before=True),
        tf.EsmModel,
    ),
    "modernbert-mlm": (tf.ModernBertConfig, MODERN, tf.ModernBertForMaskedLM),
    "modernbert-sequence": (
        tf.ModernBertConfig,
        MODERN | dict(classifier_pooling="mean", norm_bias=True, attention_bias=True, mlp_bias=True),
        tf.ModernBertForSequenceClassification,
    ),
    "modernbert-token": (
        tf.ModernBertConfig,
        MODERN | dict(classifier_bias=True, hidden_activation="gelu_pytorch_tanh"),
        tf.ModernBertForTokenClassification,
    ),
}


def randomise(model: torch.nn.Module) -> None:
    """Weights far from their initial values, so that every one of them shows in the output."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape)
            if parameter.dim() > 1:
                parameter.copy_(0.35 * noise)
            else:
                parameter.copy_((1.0 if name.endswith("norm.weight") or "LayerNorm.weight" in name else 0.0) + 0.2 * noise)


def sample(config) -> dict[str, torch.Tensor]:
    """Two rows of 13 tokens, the second with four of padding; mask tokens where the configuration has one."""
    ids = torch.randint(5, VOCABULARY - 4, (2, 13))
    mask = torch.ones_like(ids)
    mask[1, 9:] = 0
    ids[mask == 0] = config.pad_token_id
    if getattr(config, "mask_token_id", None) is not None:
        ids[0, 3] = ids[0, 7] = ids[1, 2] = config.mask_token_id
    inputs = {"input_ids": ids, "attention_mask": mask}
    if config.model_type in ("bert", "albert", "electra"):
        types = torch.zeros_like(ids)
        types[:, 6:] = 1
        inputs["token_type_ids"] = types
    return inputs


def make(name: str, config_class, values: dict, model_class, dtype=torch.float32) -> None:
    torch.manual_seed(sum(name.encode()))
    config = config_class(**values)
    config._attn_implementation = "eager"
    model = model_class(config).eval()
    randomise(model)
    # The values that are saved are the values that are computed with.
    model.to(dtype).float()
    inputs = sample(config)
    with torch.no_grad():
        output = model(**inputs)
    key = next(key for key in ("prediction_logits", "logits", "last_hidden_state") if key in output)
    folder = TARGET / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model.to(dtype).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    arrays = {f"in.{input}": value.contiguous() for input, value in inputs.items()}
    arrays["out." + key.removeprefix("prediction_")] = output[key].contiguous()
    save_file(arrays, folder / "sample.safetensors")


if __name__ == "__main__":
    for case, arguments in CASES.items():
        make(case, *arguments)
        print(case, flush=True)
