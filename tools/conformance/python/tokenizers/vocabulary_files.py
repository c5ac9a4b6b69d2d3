"""Random checkpoints without tokenizer.json, or with one and other settings, and the ids that transformers gives.

Writes JSON Lines of {name, files, texts, ids}: `files` are those of the folder, binary ones in base64. An entry of `ids` is null where
transformers raises; `ids` is null where it cannot load the folder at all.

    venv/bin/pip install -r requirements.txt
    venv/bin/python vocabulary_files.py <file> [--seed 0] [--count 200] [--kinds wordpiece,bytelevel,unigram,json]
"""

import argparse
import base64
import io
import json
import random
import tempfile
from pathlib import Path

import sentencepiece
import transformers
from random_tokenizers import WORDS, texts_from
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

SMALL = False
BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def corpus(r: random.Random) -> list[str]:
    return [" ".join(r.choice(WORDS).replace("\x00", "") for _ in range(8)) for _ in range(80)]


def word_piece(r: random.Random) -> dict[str, str]:
    lower = r.choice([True, False])
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower, strip_accents=r.random() < 0.3)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=r.choice([120, 300]), special_tokens=BERT + ["[unused1]"], show_progress=False)
    tokenizer.train_from_iterator(corpus(r), trainer)
    vocabulary = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    settings: dict = {"tokenizer_class": r.choice(["BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer", "ElectraTokenizer"])}
    settings |= {"do_lower_case": r.choice([lower, True, False])}
    if r.random() < 0.5:
        settings["strip_accents"] = r.choice([True, False, None])
    if r.random() < 0.5:
        settings["tokenize_chinese_chars"] = r.choice([True, False])
    if r.random() < 0.2:
        del settings["tokenizer_class"]
    files = {"vocab.txt": "\n".join(vocabulary) + "\n", "config.json": json.dumps({"model_type": "bert"})}
    size = len(vocabulary)
    if r.random() < 0.4:
        flags = {key: r.random() < 0.3 for key in ("single_word", "lstrip", "rstrip", "normalized")}
        settings["added_tokens_decoder"] = {
            str(vocabulary.index(token)): {"content": token, "lstrip": False, "rstrip": False, "single_word": False, "normalized": False, "special": True}
            for token in BERT
        } | {str(size): {"content": "<drug>", "special": r.random() < 0.5, **flags}}
    files["tokenizer_config.json"] = json.dumps(settings)
    return files


def byte_level(r: random.Random) -> dict[str, str]:
    name, kind = r.choice([("RobertaTokenizer", "roberta"), ("GPT2Tokenizer", "gpt2"), ("BartTokenizer", "bart"), ("LongformerTokenizer", "longformer")])
    specials = ["<|endoftext|>"] if kind == "gpt2" else ROBERTA
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=specials, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(corpus(r), trainer)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.model.save(folder)
        files = {name: (Path(folder) / name).read_text() for name in ("vocab.json", "merges.txt")}
    settings: dict = {"tokenizer_class": name} if r.random() < 0.7 else {}
    if r.random() < 0.5:
        settings["add_prefix_space"] = r.random() < 0.5
    files |= {"config.json": json.dumps({"model_type": kind}), "tokenizer_config.json": json.dumps(settings)}
    return files


def with_json(r: random.Random) -> dict[str, str]:
    """A tokenizer.json of BERT, and a tokenizer_config.json that may say otherwise."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    state = dict(lowercase=r.random() < 0.5, strip_accents=r.choice([None, True, False]), handle_chinese_chars=r.random() < 0.7)
    tokenizer.normalizer = normalizers.BertNormalizer(**state)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(corpus(r), trainers.WordPieceTrainer(vocab_size=200, special_tokens=BERT, show_progress=False))
    if r.random() < 0.9:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    settings: dict = {"tokenizer_class": r.choice(["BertTokenizer", "PreTrainedTokenizerFast", "BertTokenizerFast"])}
    keys = {"do_lower_case": [True, False, state["lowercase"]], "strip_accents": [None, True, state["strip_accents"]], "tokenize_chinese_chars": [True, state["handle_chinese_chars"]]}
    settings |= {key: r.choice(values) for key, values in keys.items() if r.random() < 0.6}
    settings |= {"cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]", "unk_token": "[UNK]", "pad_token": "[PAD]"}
    if r.random() < 0.3:
        settings |= {"add_bos_token": r.random() < 0.5, "bos_token": "[CLS]"}
    if r.random() < 0.3:
        settings |= {"add_eos_token": r.random() < 0.5, "eos_token": "[SEP]"}
    if r.random() < 0.4:
        flags = lambda: {key: r.random() < 0.3 for key in ("single_word", "lstrip", "rstrip", "normalized", "special")}
        size = tokenizer.get_vocab_size()
        known = r.choice(["[MASK]", "the"])
        settings["added_tokens_decoder"] = {str(size): {"content": "<drug>", **flags()}}
        if tokenizer.token_to_id(known) is not None:
            settings["added_tokens_decoder"][str(tokenizer.token_to_id(known))] = {"content": known, **flags()}
    if r.random() < 0.3 and tokenizer.token_to_id("the") is not None:
        settings["additional_special_tokens"] = ["the"]
    return {"tokenizer.json": tokenizer.to_str(), "config.json": json.dumps({"model_type": "bert"}), "tokenizer_config.json": json.dumps(settings)}


def unigram(r: random.Random) -> dict[str, str]:
    kinds = {
        "albert": ("spiece.model", "AlbertTokenizer", dict(pad_id=0, unk_id=1, bos_id=-1, eos_id=-1, user_defined_symbols=["[CLS]", "[SEP]", "[MASK]"], pad_piece="<pad>")),
        "camembert": ("sentencepiece.bpe.model", "CamembertTokenizer", dict(unk_id=0, bos_id=1, eos_id=2)),
        "xlm-roberta": ("sentencepiece.bpe.model", "XLMRobertaTokenizer", dict(unk_id=0, bos_id=1, eos_id=2)),
        "deberta-v2": ("spm.model", "DebertaV2Tokenizer", dict(pad_id=0, bos_id=1, eos_id=2, unk_id=3, pad_piece="[PAD]", bos_piece="[CLS]", eos_piece="[SEP]", unk_piece="[UNK]")),
        "t5": ("spiece.model", "T5Tokenizer", dict(pad_id=0, eos_id=1, unk_id=2, bos_id=-1)),
    }
    kind = r.choice(["xlm-roberta", "camembert"] * 3 + list(kinds))
    name, tokenizer_class, ids = kinds[kind]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus(r)), model_writer=model, vocab_size=r.choice([300, 500]), model_type="unigram", minloglevel=2,
        normalization_rule_name=r.choice(["nmt_nfkc", "nmt_nfkc", "nfkc", "nmt_nfkc_cf", "identity"]) if not SMALL else "identity", hard_vocab_limit=False,
        character_coverage=r.choice([0.98, 0.9995]), **ids,
    )
    settings: dict = {"tokenizer_class": tokenizer_class} if r.random() < 0.7 else {}
    if kind == "albert":
        settings |= {"do_lower_case": r.random() < 0.5, "keep_accents": r.random() < 0.5, "remove_space": True}
    if kind == "deberta-v2":
        settings |= {"do_lower_case": r.random() < 0.5}
    return {name: "base64:" + base64.b64encode(model.getvalue()).decode(), "config.json": json.dumps({"model_type": kind}), "tokenizer_config.json": json.dumps(settings)}


KINDS = {"wordpiece": word_piece, "bytelevel": byte_level, "unigram": unigram, "json": with_json}


def make(seed: int, kinds: list[str], count: int) -> dict:
    r = random.Random(seed)
    kind = r.choice(kinds)
    files = KINDS[kind](r)
    texts = texts_from(r, count, ["[MASK]", "<mask>", "<drug>", "[CLS]", "<s>"])
    with tempfile.TemporaryDirectory() as folder:
        for name, contents in files.items():
            data = base64.b64decode(contents[7:]) if contents.startswith("base64:") else contents.encode()
            (Path(folder) / name).write_bytes(data)
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        except Exception as error:
            return {"name": f"{kind}, seed {seed}", "files": files, "texts": texts, "ids": None, "error": str(error)[:300]}

        def encode(text: str):
            try:
                return tokenizer(text)["input_ids"]
            except BaseException:
                return None

        ids = [encode(text) for text in texts]
    return {"name": f"{kind}, seed {seed}", "files": files, "texts": texts, "ids": ids}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--texts", type=int, default=30)
    parser.add_argument("--kinds", default="wordpiece,bytelevel,json,unigram")
    parser.add_argument("--small", action="store_true", help="without large character maps, for fixtures")
    options = parser.parse_args()
    global SMALL
    SMALL = options.small
    with open(options.file, "w") as file:
        for at in range(options.count):
            case = make(options.seed + at, options.kinds.split(","), options.texts)
            file.write(json.dumps(case, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
