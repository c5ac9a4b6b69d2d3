"""Runs the Python example of every model card given, in its folder, as a reader would paste it.

    pip install onnxruntime tokenizers numpy
    python run.py <converted folder> ...

Prints what each example prints. Exit code 1 if one fails or a card has none.
"""

import os
import re
import subprocess
import sys


def example(folder: str) -> str:
    with open(os.path.join(folder, "README.md"), encoding="utf-8") as card:
        found = re.search(r"```python\n(.*?)```", card.read(), re.DOTALL)
    if found is None:
        raise SystemExit(f"{folder}/README.md has no example in Python")
    return found.group(1)


failed = False
for folder in sys.argv[1:]:
    ended = subprocess.run([sys.executable, "-c", example(folder)], cwd=folder, capture_output=True, text=True)
    print(f"{folder}: {ended.stdout.strip() if ended.returncode == 0 else ended.stderr.strip()}")
    failed = failed or ended.returncode != 0
sys.exit(1 if failed or len(sys.argv) < 2 else 0)
