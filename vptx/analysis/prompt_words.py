"""Learnt words one can read: the nearest words of the vocabulary to each context vector, as in table 4 of Zhou et al.,
"Learning to Prompt for Vision-Language Models" (CoOp), IJCV 2022, https://arxiv.org/abs/2109.01134

The distance is Euclidean, between the vector and the rows of the text tower's token table.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from vptx.attach import find_prompted_network
from vptx.files import write_whole
from vptx.layers import OUTSIDE
from vptx.mappings.text import TextHead

__all__ = ['Near', 'near_words', 'words_table', 'write_words']


class Near(NamedTuple):
    """A learnt vector and the words next to it.

    Attributes:
        name: of its class; empty where all classes share it.
        vector: its number, from 1 on.
        words: the nearest first; a part of a word ends in a hyphen.
        distances: of these.
    """

    name: str
    vector: int
    words: tuple[str, ...]
    distances: tuple[float, ...]


@torch.no_grad()
def near_words(model: nn.Module, number: int = 3) -> list[Near]:
    """The nearest words of the vocabulary to each learnt vector of the text side of ``model``.

    Of a prompter whose vectors depend on the image, those without their shift.

    Raises:
        ValueError: a model without a text head, or whose text side has no vectors in place of words.
    """
    network = find_prompted_network(model)
    head = network.mapping if network is not None else None
    found = head.text.prompter.words(OUTSIDE) if isinstance(head, TextHead) else None
    if found is None:
        raise ValueError('there is no text head with learnt words (door words)')
    text = head.text
    table = text.net.model.token_embedding.weight.float()
    several, exact = found.dim() == 3, 'donot_use_mm_for_euclid_dist'
    lines = []
    for index, vectors in enumerate(found if several else found[None]):
        distances, ids = torch.cdist(vectors.float(), table, compute_mode=exact).topk(number, largest=False)
        for vector, (near, tokens) in enumerate(zip(distances.tolist(), ids.tolist()), 1):
            words = tuple(_written(text.net.tokenizer, token) for token in tokens)
            lines.append(Near(text.classes[index] if several else '', vector, words, tuple(near)))
    return lines


def _written(tokenizer: object, token: int) -> str:
    whole = tokenizer.decode([token])  # type: ignore[attr-defined]
    return whole.strip() if whole.endswith((' ', '>')) else f'{whole}-'


def words_table(lines: Sequence[Near]) -> str:
    """For people to read: a line for each vector."""
    found = []
    for line in lines:
        words = ', '.join(f'{word} ({far:.4f})' for word, far in zip(line.words, line.distances, strict=True))
        found.append(f'{f"{line.name}: " if line.name else ""}vector {line.vector}: {words}')
    return '\n'.join(found)


def write_words(lines: Sequence[Near], path: Path) -> None:
    """Write a CSV of class, vector, rank, word and distance."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['class', 'vector', 'rank', 'word', 'distance'])
    for line in lines:
        for rank, (word, far) in enumerate(zip(line.words, line.distances, strict=True), 1):
            writer.writerow([line.name, line.vector, rank, word, f'{far:.6f}'])
    write_whole(path, text.getvalue().encode())
