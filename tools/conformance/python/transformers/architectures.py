"""Random configurations of every model type that @favor/checkpoints builds, small enough that thousands take minutes.

`draw(random)` gives the type's configuration class, its values, and the class of the model. Values are drawn among all that
change what a model computes, so that none of them is read wrongly without showing in the output.
"""

from dataclasses import dataclass

import transformers as tf

GENERATION = int(tf.__version__.split(".")[0])
# Two that no graph is built with: a case of them must be refused.
ACTIVATIONS = ["gelu", "gelu_new", "gelu_pytorch_tanh", "gelu_python", "relu", "silu", "swish", "tanh", "quick_gelu", "gelu_fast"]
RARE_ACTIVATIONS = ["mish", "leaky_relu"]


@dataclass
class Drawn:
    config: object
    model_class: type
    # The class of the same type without a head.
    base_class: type


def common(random) -> dict:
    heads = random.choice([1, 2, 4])
    values = dict(
        vocab_size=random.randint(24, 40),
        hidden_size=heads * random.choice([2, 4, 6]),
        num_hidden_layers=random.randint(1, 3),
        num_attention_heads=heads,
        intermediate_size=random.randint(5, 20),
        max_position_embeddings=random.randint(20, 32),
        initializer_range=0.5,
        num_labels=random.choice([1, 2, 2, 3, 5]),
    )
    if random.random() < 0.4:
        values["tie_word_embeddings"] = random.random() < 0.5
    if random.random() < 0.2:
        values["problem_type"] = "multi_label_classification"
    if random.random() < 0.1:
        values["chunk_size_feed_forward"] = 1
    if random.random() < 0.3:
        values["classifier_dropout"] = 0.1
    return values


def activation(random) -> str:
    return random.choice(RARE_ACTIVATIONS if random.random() < 0.03 else ACTIVATIONS)


def bert_like(random) -> dict:
    values = common(random) | dict(
        hidden_act=activation(random),
        layer_norm_eps=random.choice([1e-12, 1e-5, 1e-2]),
        type_vocab_size=random.choice([1, 2, 3]),
        pad_token_id=random.choice([0, 0, 3]),
    )
    if GENERATION == 4 and random.random() < 0.1:
        values["position_embedding_type"] = random.choice(["absolute", "relative_key", "relative_key_query"])
    if random.random() < 0.03:
        values["is_decoder"] = True
    return values


def bert(random) -> tuple:
    return tf.BertConfig, bert_like(random), "Bert"


def roberta_like(random) -> dict:
    return bert_like(random) | dict(pad_token_id=random.choice([1, 1, 0, 2]), bos_token_id=0, eos_token_id=2)


def roberta(random) -> tuple:
    return tf.RobertaConfig, roberta_like(random), "Roberta"


def xlm_roberta(random) -> tuple:
    return tf.XLMRobertaConfig, roberta_like(random), "XLMRoberta"


def camembert(random) -> tuple:
    return tf.CamembertConfig, roberta_like(random), "Camembert"


def electra(random) -> tuple:
    values = bert_like(random)
    values["embedding_size"] = random.choice([values["hidden_size"], 6, 10])
    return tf.ElectraConfig, values, "Electra"


def albert(random) -> tuple:
    values = bert_like(random)
    values["embedding_size"] = random.choice([4, 6])
    values["num_hidden_groups"] = random.randint(1, values["num_hidden_layers"])
    # transformers 4 fails on groups of fewer layers than each holds.
    is_wide = values["num_hidden_layers"] >= 2 * values["num_hidden_groups"]
    values["inner_group_num"] = random.choice([1, 2]) if is_wide else 1
    values.pop("is_decoder", None)
    return tf.AlbertConfig, values, "Albert"


def distilbert(random) -> tuple:
    values = common(random)
    values = values | dict(
        dim=values.pop("hidden_size"),
        n_heads=values.pop("num_attention_heads"),
        n_layers=values.pop("num_hidden_layers"),
        hidden_dim=values.pop("intermediate_size"),
        activation=random.choice(["gelu", "relu", "gelu_new", "silu"]),
        sinusoidal_pos_embds=random.random() < 0.3,
    )
    return tf.DistilBertConfig, values, "DistilBert"


def esm(random) -> tuple:
    values = common(random) | dict(
        layer_norm_eps=random.choice([1e-12, 1e-5, 1e-2]),
        pad_token_id=random.choice([1, 1, 0, 4]),
        mask_token_id=20,
        position_embedding_type=random.choice(["rotary", "rotary", "absolute"]),
        token_dropout=random.random() < 0.6,
        emb_layer_norm_before=random.choice([None, False, True]),
    )
    if GENERATION == 5 and random.random() < 0.3:
        values["rope_theta"] = random.choice([100.0, 5000.0])
    return tf.EsmConfig, values, "Esm"


def modernbert(random) -> tuple:
    values = common(random) | dict(
        num_hidden_layers=random.randint(1, 5),
        hidden_activation=random.choice(["gelu", "gelu_new", "silu", "relu"]),
        classifier_activation=random.choice(["gelu", "gelu_new", "silu", "relu"]),
        norm_eps=random.choice([1e-5, 1e-2]),
        local_attention=random.choice([2, 5, 8, 128]),
        classifier_pooling=random.choice(["cls", "mean"]),
        max_position_embeddings=64,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2,
        **{
            name: random.random() < 0.5
            for name in ["norm_bias", "attention_bias", "mlp_bias", "decoder_bias", "classifier_bias"]
        },
    )
    values.pop("classifier_dropout", None)
    bases = dict(global_rope_theta=random.choice([160_000.0, 100.0]), local_rope_theta=random.choice([10_000.0, 50.0]))
    if GENERATION == 4:
        values["global_attn_every_n_layers"] = random.choice([1, 2, 3])
        values |= bases
        if random.random() < 0.2:
            values["local_rope_theta"] = None
    else:
        kinds = ["full_attention", "sliding_attention"]
        if random.random() < 0.5:
            values["layer_types"] = [random.choice(kinds) for _ in range(values["num_hidden_layers"])]
        else:
            values["global_attn_every_n_layers"] = random.choice([1, 2, 3])
        values["rope_parameters"] = {
            kind: {"rope_type": "default", "rope_theta": theta} for kind, theta in zip(kinds, bases.values())
        }
    return tf.ModernBertConfig, values, "ModernBert"


TYPES = [bert, roberta, xlm_roberta, camembert, electra, albert, distilbert, esm, modernbert]
# Ends of class names; those that a type has not are left out.
HEADS = [
    "Model", "ForMaskedLM", "ForMaskedLM", "ForSequenceClassification", "ForSequenceClassification", "ForTokenClassification",
    "ForTokenClassification", "ForPreTraining", "LMHeadModel", "ForCausalLM", "ForQuestionAnswering", "ForMultipleChoice",
    "ForNextSentencePrediction",
]


def draw(random) -> Drawn:
    config_class, values, name = random.choice(TYPES)(random)
    ends = [end for end in HEADS if hasattr(tf, name + end)]
    end = random.choice(ends)
    if end == "ForQuestionAnswering":
        values["num_labels"] = 2
    if values["num_labels"] == 1:
        values.pop("problem_type", None)
    config = config_class(**values)
    config._attn_implementation = "eager"
    return Drawn(config, getattr(tf, name + end), getattr(tf, f"{name}Model"))
