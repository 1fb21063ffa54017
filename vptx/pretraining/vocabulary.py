"""A small vocabulary of byte pair merges, out of CLIP's public one."""

import gzip
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from vptx.files import existing

__all__ = ['small_vocabulary']


def small_vocabulary(source: str | Path, first: int, words: Iterable[str], title: str) -> bytes:
    """Keep the first merges of a public vocabulary, and those that some words need.

    These words become the tokens that the public vocabulary makes of them, others more and shorter ones.

    Args:
        source: ``bpe_simple_vocab_16e6.txt.gz``.
        first: how many merges are kept whatever they are for.
        words: each without spaces, in lower case.
        title: the first line of the file, which no tokenizer reads.

    Returns:
        The content of a file like ``source``.
    """
    lines = gzip.decompress(existing(source).read_bytes()).decode().split('\n')[1 : 49152 - 256 - 2 + 1]
    ranks = {tuple(line.split()): rank for rank, line in enumerate(lines)}
    kept = set(range(first))
    for word in words:
        parts = [*word[:-1], f'{word[-1]}</w>']
        while len(parts) > 1:
            rank, at = min((ranks.get(pair, len(ranks)), i) for i, pair in enumerate(pairwise(parts)))
            if rank == len(ranks):
                break
            kept.add(rank)
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return gzip.compress('\n'.join([title, *(lines[rank] for rank in sorted(kept))]).encode(), 9, mtime=0)
