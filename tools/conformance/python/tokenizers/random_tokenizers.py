"""Random tokenizers of every kind, random texts, and the ids that the library `tokenizers` gives them.

Writes JSON Lines of {name, tokenizer, texts, ids}; an entry of `ids` is null where the library raises. The same seed gives
the same file. `npm run tokenizers -w @favor/conformance` reads such a file and compares Favor's ids.

    python3 -m venv venv && venv/bin/pip install -r requirements.txt
    venv/bin/python random_tokenizers.py <file> [--seed 0] [--count 300] [--texts 40]
"""

import argparse
import base64
import io
import json
import random
import tempfile

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

WORDS = """the of and to in model attention is linear kernel features random orthogonal positive softmax estimator we
    Protein Sequence ALIGN don't I'll we've they're it's can't ΑΣ ΟΔΟΣ Σ straße STRASSE İstanbul ﬁne ｆｕｌｌ Ｗｉｄｔｈ café
    naïve résumé Ångström 東京 日本語 漢字かな 𠀀𠮷 한국어 мир Привет नमस्ते हिन्दी العربية ١٢٣ ½ ² Ⅷ 3.14 1,000 12345 x² a_b
    snake_case ‿ e-mail foo@bar.com $100 100% #tag @user :) 😀 👩‍👩‍👧 🇩🇪 é e\u0301 \u0301 ㋿ ㌀ ﷺ ~ ～ ｀ `` '' -- — … ‘q’ “d”
    <s> </s> [MASK] [CLS] <mask> [UNK] ▁ ▁▁ __ \u00ad \u200b \u200d \ufeff \u0085 \u2028 \u2029 \xa0 \u3000 \t \n \r\n \x00
    \x07 \x1f \x7f \ufffd \ue000 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    QVQLVQSG ACDEFGHIKLMNPQRSTVWY un able unable undo redo low lower lowest new newer wide widest ; : , . ! ? ( ) [ ] { }
    \\ / | * + ^ $ & % ' " ǅ Ǆ ẞ ŉ ﬀ Ω K Å ꜀ ᾀ ΐ ʼn ĳ""".split(" ")
WORDS = [word.strip("\n") or word for word in WORDS if word]


def texts_from(r: random.Random, count: int, specials: list[str]) -> list[str]:
    def text() -> str:
        kind = r.random()
        if kind < 0.1:
            points = (r.choice([r.randrange(0x20, 0x250), r.randrange(0x250, 0x3000), r.randrange(0x3000, 0xD800)]) for _ in range(r.randrange(1, 12)))
            return "".join(map(chr, points))
        joint = ["", " ", "  ", "\t", "\n", " \n ", "\u3000", "-", "", " "]
        words = WORDS + specials * 4
        return "".join(r.choice(words) + r.choice(joint if kind < 0.6 else [" "]) for _ in range(r.randrange(1, 12)))

    edges = ["", " ", "a", "  a", "a  ", "\n", "A", "é", "\u0301", "▁", " ▁a", "the the", "1", "."]
    return edges + [text() for _ in range(count)]


SMALL = False


def charsmap(r: random.Random) -> str:
    """A character map that SentencePiece compiled, of its own rules or one of the usual ones."""
    name = r.choice(["nmt_nfkc", "nfkc", "nmt_nfkc_cf", "nfkc_cf", "own"]) if not SMALL else "own"
    arguments = {"normalization_rule_name": name}
    if name == "own":
        rules = {chr(c): chr(c + 32) for c in range(65, 91) if r.random() < 0.8}
        rules |= {"é": "e", "東": "TO", "e\u0301": "E", "ab": "X", "½": "1/2", "~": "", "\u3000": " ", "한": "han"}
        with tempfile.NamedTemporaryFile("w", suffix=".tsv", delete=False) as file:
            for key, value in rules.items():
                file.write(" ".join(f"{ord(c):X}" for c in key) + "\t" + " ".join(f"{ord(c):X}" for c in value) + "\n")
        arguments = {"normalization_rule_tsv": file.name}
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a b c d e f g h"] * 4), model_writer=model, vocab_size=14, model_type="char",
        minloglevel=2, **arguments,
    )
    from sentencepiece import sentencepiece_model_pb2 as pb

    proto = pb.ModelProto()
    proto.ParseFromString(model.getvalue())
    return base64.b64encode(proto.normalizer_spec.precompiled_charsmap).decode()


PATTERNS = [
    r"\s+", r"\w+", r"\d", r"[A-Z]", r"[^\s\w]+", r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"'s|'t| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+", r".", r"[\p{P}\p{S}]", r"\b", r"^a|z$", r"(?<=a)b*", r"[[:punct:]]", r"\p{Han}",
    r"[^\p{L}]|(?=\p{Lu})", r"x*", r"\h+", r"a{1,2}+", r"(a|b)+?c?", r"\p{Greek}", r"[a-z&&[^aeiou]]+", r"\A.", r".\z", r"\R", r"\X",
]
STRINGS = [" ", "a", ".", "the", "▁", "\n", "é", "$", "a|b", "(", "東", ""]
BEHAVIORS = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]


def pattern(r: random.Random):
    return Regex(r.choice(PATTERNS)) if r.random() < 0.7 else r.choice([s for s in STRINGS if s])


def normalizer(r: random.Random, depth: int = 0):
    kind = r.choice(["bert"] * 3 + ["nfc", "nfd", "nfkc", "nfkd", "lower", "accents", "strip", "replace", "prepend", "nmt", "bytes"] + ["map"] * 2 + ["sequence"] * 3)
    if kind == "bert":
        return normalizers.BertNormalizer(
            clean_text=r.random() < 0.7, handle_chinese_chars=r.random() < 0.7,
            strip_accents=r.choice([None, True, False]), lowercase=r.random() < 0.5,
        )
    if kind == "strip":
        return normalizers.Strip(left=r.random() < 0.5, right=r.random() < 0.5)
    if kind == "replace":
        return normalizers.Replace(pattern(r), r.choice(["", " ", "$&", "$1", "▁", "<x>", "\\1", "$$", "é"]))
    if kind == "prepend":
        return normalizers.Prepend(r.choice(["▁", " ", "x"]))
    if kind == "map":
        return normalizers.Precompiled(base64.b64decode(charsmap(r)))
    if kind == "sequence" and depth < 2:
        return normalizers.Sequence([normalizer(r, depth + 1) for _ in range(r.randrange(1, 4))])
    plain = dict(nfc="NFC", nfd="NFD", nfkc="NFKC", nfkd="NFKD", lower="Lowercase", accents="StripAccents", nmt="Nmt", bytes="ByteLevel")
    return getattr(normalizers, plain.get(kind, "NFC"))()


def pre_tokenizer(r: random.Random, depth: int = 0):
    kind = r.choice(["bert", "white", "whitesplit", "punct", "digits", "fixed", "char"] + ["meta", "byte", "split"] * 3 + ["sequence"] * 3)
    if kind == "bert":
        return pre_tokenizers.BertPreTokenizer()
    if kind == "white":
        return pre_tokenizers.Whitespace()
    if kind == "whitesplit":
        return pre_tokenizers.WhitespaceSplit()
    if kind == "punct":
        return pre_tokenizers.Punctuation(r.choice(BEHAVIORS))
    if kind == "digits":
        return pre_tokenizers.Digits(individual_digits=r.random() < 0.5)
    if kind == "fixed":
        return pre_tokenizers.FixedLength(length=r.randrange(1, 5))
    if kind == "char":
        return pre_tokenizers.CharDelimiterSplit(r.choice([" ", "a", "é", "-"]))
    if kind == "meta":
        return pre_tokenizers.Metaspace(
            replacement=r.choice(["▁", "▁", "▁", "_"]), prepend_scheme=r.choice(["always", "first", "never"]), split=r.random() < 0.6
        )
    if kind == "byte":
        return pre_tokenizers.ByteLevel(add_prefix_space=r.random() < 0.5, use_regex=r.random() < 0.7)
    if kind == "sequence" and depth < 2:
        return pre_tokenizers.Sequence([pre_tokenizer(r, depth + 1) for _ in range(r.randrange(1, 4))])
    return pre_tokenizers.Split(pattern(r), behavior=r.choice(BEHAVIORS), invert=r.random() < 0.3)


def trained(r: random.Random, tokenizer: Tokenizer, corpus: list[str], specials: list[str]) -> Tokenizer:
    """Trains a model of some kind in place, so that its vocabulary fits the other parts."""
    size = r.choice([40, 120, 400]) if not SMALL else 60
    kind = r.choice(["piece", "level", "bpe", "bpe", "unigram", "unigram"])
    alphabet = pre_tokenizers.ByteLevel.alphabet() if r.random() < 0.3 else []
    if kind == "piece":
        prefix = r.choice(["##", "##", "", "@"])
        tokenizer.model = models.WordPiece(unk_token="[UNK]", continuing_subword_prefix=prefix, max_input_chars_per_word=r.choice([100, 10, 3]))
        trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=["[UNK]"] + specials, continuing_subword_prefix=prefix, initial_alphabet=alphabet, show_progress=False)
    elif kind == "level":
        tokenizer.model = models.WordLevel(unk_token="[UNK]")
        trainer = trainers.WordLevelTrainer(vocab_size=size, special_tokens=["[UNK]"] + specials, show_progress=False)
    elif kind == "bpe":
        options = dict(
            unk_token=r.choice(["[UNK]", None]), fuse_unk=r.random() < 0.5, continuing_subword_prefix=r.choice([None, None, "##"]),
            end_of_word_suffix=r.choice([None, None, "</w>"]), byte_fallback=r.random() < 0.3, ignore_merges=r.random() < 0.3,
        )
        options = {key: value for key, value in options.items() if value is not None}
        tokenizer.model = models.BPE(**options)
        affixes = {key: options[key] for key in ("continuing_subword_prefix", "end_of_word_suffix") if key in options}
        more = [f"<0x{b:02X}>" for b in range(256)] if options["byte_fallback"] and r.random() < 0.7 else []
        trainer = trainers.BpeTrainer(vocab_size=size + len(more), special_tokens=["[UNK]"] + specials + more, initial_alphabet=alphabet, show_progress=False, **affixes)
    else:
        tokenizer.model = models.Unigram()
        trainer = trainers.UnigramTrainer(vocab_size=size, unk_token="[UNK]", special_tokens=["[UNK]"] + specials, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(corpus, trainer)
    return tokenizer


def post_processor(r: random.Random, tokenizer: Tokenizer):
    cls, sep = ("[CLS]", tokenizer.token_to_id("[CLS]")), ("[SEP]", tokenizer.token_to_id("[SEP]"))
    kind = r.choice(["none", "bert", "roberta", "template", "template", "byte", "sequence"])
    template = processors.TemplateProcessing(
        single=r.choice(["[CLS] $A [SEP]", "$A [SEP]", "[CLS] $0", "$A [SEP] [CLS]", "$A"]), pair="$A $B", special_tokens=[cls, sep]
    )
    return {
        "none": None, "bert": processors.BertProcessing(sep, cls), "roberta": processors.RobertaProcessing(sep, cls),
        "template": template, "byte": processors.ByteLevel(), "sequence": processors.Sequence([processors.ByteLevel(), template]),
    }[kind]


def make(seed: int, texts: int) -> dict:
    r = random.Random(seed)
    specials = ["[CLS]", "[SEP]", "[MASK]", "<mask>"]
    while True:
        tokenizer = Tokenizer(models.BPE())
        if r.random() < 0.8:
            tokenizer.normalizer = normalizer(r)
        if r.random() < 0.9:
            tokenizer.pre_tokenizer = pre_tokenizer(r)
        corpus = [" ".join(r.choice(WORDS) for _ in range(8)) for _ in range(60)]
        try:
            trained(r, tokenizer, corpus, specials)
            Tokenizer.from_str(tokenizer.to_str())
            break
        except BaseException:  # a trainer may find no pieces and panic, or give scores that are no numbers
            continue
    added = [
        AddedToken(content, single_word=r.random() < 0.3, lstrip=r.random() < 0.3, rstrip=r.random() < 0.3, normalized=r.random() < 0.5, special=r.random() < 0.3)
        for content in r.sample(["the", "<extra>", "Low", "é", " a", "un", "NEW", "東京", "a b", "<s>", "x", "ab", "able"], r.randrange(0, 5))
    ]
    for token in added:
        (tokenizer.add_special_tokens if token.special else tokenizer.add_tokens)([token])
    processor = post_processor(r, tokenizer)
    if processor is not None:
        tokenizer.post_processor = processor
    # As transformers reads it: from the file.
    description = json.loads(tokenizer.to_str())
    tokenizer = Tokenizer.from_str(json.dumps(description))
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def encode(text: str):
        try:
            return tokenizer.encode(text).ids
        except BaseException:  # the library raises, or panics
            return None

    sample = texts_from(r, texts, [token.content for token in added] + specials)
    return {"name": f"seed {seed}", "tokenizer": description, "texts": sample, "ids": [encode(text) for text in sample]}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--texts", type=int, default=40)
    parser.add_argument("--small", action="store_true", help="small vocabularies and character maps, for fixtures")
    options = parser.parse_args()
    global SMALL
    SMALL = options.small
    with open(options.file, "w") as file:
        for at in range(options.count):
            file.write(json.dumps(make(options.seed + at, options.texts), separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
