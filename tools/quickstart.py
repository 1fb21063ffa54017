"""Train VPT-deep and a linear probe on handwritten digits, in a few minutes on two cores.

python tools/quickstart.py
"""

import json
import subprocess
import sys
import time
from math import ceil
from pathlib import Path

from PIL import Image

from vptx.datasets import Digits

OUT = Path('work_dirs/quickstart')
METHODS = {'linear probe': 'digits_linear', 'VPT-deep': 'digits_vpt_deep'}


def run(*command: str | Path) -> None:
    """Run a tool as a user would, and show the command."""
    print(f'\n$ python {" ".join(map(str, command))}', flush=True)
    subprocess.run([sys.executable, *map(str, command)], check=True)


def main() -> None:
    started = time.perf_counter()
    rows = []
    for method, name in METHODS.items():
        config, folder = f'configs/mini/{name}.py', OUT / name
        run('tools/train.py', config, '--work-dir', folder)
        prompt_file, metrics = folder / 'prompt.safetensors', folder / 'test.json'
        run('tools/test.py', config, prompt_file, '--work-dir', folder / 'test', '--out', metrics)
        accuracy = json.loads(metrics.read_text())['accuracy/top1']
        rows.append((method, accuracy, prompt_file.stat().st_size / 1024, prompt_file))
    images = OUT / 'images'
    images.mkdir(parents=True, exist_ok=True)
    digits = Digits(split='test', crowded=1)
    for index in range(0, len(digits), ceil(len(digits) / 30)):
        Image.fromarray(digits[index]['img'][..., ::-1]).save(images / f'{index:04d}.png')
    run('tools/predict.py', config, prompt_file, images, '--out-dir', OUT)

    print(f'\n{"":14}  {"test accuracy":>13}  {"prompt file":>11}')
    for method, accuracy, kilobytes, _ in rows:
        print(f'{method:14}  {accuracy:12.1f}%  {kilobytes:8.0f} kB')
    print(f'\n{time.perf_counter() - started:.0f} s in all. Predictions: {OUT / "predictions.png"}')


if __name__ == '__main__':
    main()
