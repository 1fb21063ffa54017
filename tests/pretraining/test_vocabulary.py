"""A small vocabulary makes the public tokens of the words it was made for; the shipped one is made so."""

import gzip
from pathlib import Path

import pytest
from open_clip.tokenizer import SimpleTokenizer, default_bpe

from vptx.datasets.mini.captions import caption_words
from vptx.pretraining.vocabulary import small_vocabulary

SHIPPED = Path(__file__).parents[2] / 'weights/clip_mini_vocabulary.txt.gz'


def pieces(tokenizer: SimpleTokenizer, text: str) -> list[str]:
    return [tokenizer.decoder[token] for token in tokenizer.encode(text)]


@pytest.mark.parametrize('first', [0, 300])
def test_words_become_the_public_tokens(first, tmp_path):
    words = ['chequered', 'rhombi', 'a', 'of', 'triangle']
    file = tmp_path / 'small.txt.gz'
    file.write_bytes(small_vocabulary(default_bpe(), first, words, 'a title'))
    small, public = SimpleTokenizer(str(file)), SimpleTokenizer()
    assert first + 514 < small.vocab_size < first + 514 + 40
    for word in words:
        assert pieces(small, word) == pieces(public, word)
    assert small.decode(small.encode('Zebra, 42!')).strip() == 'zebra , 4 2 !'  # letter by letter, if need be


def test_the_shipped_vocabulary():
    title, *merges = gzip.decompress(SHIPPED.read_bytes()).decode().split('\n')
    assert 'MIT' in title and (SHIPPED.parent / 'clip_mini_vocabulary.LICENSE.txt').is_file()
    made = gzip.decompress(small_vocabulary(default_bpe(), 1000, caption_words(), title)).decode()
    assert made.split('\n')[1:] == merges
    shipped, public = SimpleTokenizer(str(SHIPPED)), SimpleTokenizer()
    assert all(pieces(shipped, word) == pieces(public, word) for word in caption_words())
