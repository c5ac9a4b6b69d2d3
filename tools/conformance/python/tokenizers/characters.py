"""Every character through every step of a tokenizer that looks at classes of characters.

Writes JSON Lines as random_tokenizers.py does. A vocabulary of bytes shows what a step left of a text, and a prefix of
continuing bytes where it split. Differences belong into packages/measure/src/tokens/steps/characters.ts.

    venv/bin/python characters.py <file>
"""

import json
import sys

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
NORMALIZERS = {
    "clean": normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False),
    "cjk": normalizers.BertNormalizer(clean_text=False, handle_chinese_chars=True, strip_accents=False, lowercase=False),
    "accents": normalizers.BertNormalizer(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False),
    "bert": normalizers.BertNormalizer(),
    **{name: getattr(normalizers, name)() for name in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt")},
}
PRE_TOKENIZERS = {
    "words": pre_tokenizers.Whitespace(), "white": pre_tokenizers.WhitespaceSplit(), "punctuation": pre_tokenizers.Punctuation(),
    "digits": pre_tokenizers.Digits(), "bert": pre_tokenizers.BertPreTokenizer(), "gpt2": pre_tokenizers.ByteLevel(add_prefix_space=False),
}


def texts() -> list[str]:
    points = [chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000]
    return ["a" + "a".join(points[at : at + 64]) + "a" for at in range(0, len(points), 64)]


def main() -> None:
    vocabulary = {token: at for at, token in enumerate(BYTES + ["##" + byte for byte in BYTES])}
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    sample = texts()
    with open(sys.argv[1], "w") as file:
        for kind, steps in (("normalizer", NORMALIZERS), ("pre-tokenizer", PRE_TOKENIZERS)):
            for name, step in steps.items():
                tokenizer = Tokenizer(models.BPE(vocabulary, [], continuing_subword_prefix="##"))
                if kind == "normalizer":
                    tokenizer.normalizer, tokenizer.pre_tokenizer = step, last
                else:
                    tokenizer.pre_tokenizer = step if name == "gpt2" else pre_tokenizers.Sequence([step, last])
                ids = [encoding.ids for encoding in tokenizer.encode_batch(sample)]
                case = {"name": f"{kind} {name}", "tokenizer": json.loads(tokenizer.to_str()), "texts": sample, "ids": ids}
                file.write(json.dumps(case, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
