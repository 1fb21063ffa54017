"""Ask a server again and again: ``asking.py ADDRESS FILE NUMBER``. Says so of each answer; the last line is JSON.

The file has requests, each with the scores that its answer must have.
"""

import json
import sys
from collections import Counter
from pathlib import Path

from vptx.serve.load import load


def main(address: str, file: str, number: str) -> None:
    asked = [pair for _, pair in zip(range(int(number)), _again(json.loads(Path(file).read_text())))]
    found = Counter[str]()
    for reply, (_, wanted) in zip(load(address, [body for body, _ in asked], clients=8), asked, strict=True):
        print('asked', flush=True)
        if reply.status != 200:
            found[f'status {reply.status}'] += 1
            continue
        (answer,) = reply.json['answers']
        good = all(abs(wanted[each['name']] - each['score']) < 1e-4 for each in answer['classes'])
        found['right' if good else 'wrong'] += 1
    print(json.dumps(found))


def _again(items: list):
    while True:
        yield from items


if __name__ == '__main__':
    main(*sys.argv[1:])
