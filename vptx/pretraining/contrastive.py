"""Contrastive language-image pre-training of open_clip's CLIP.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021,
https://arxiv.org/abs/2103.00020. Of B images and their B captions, with embeddings f and z of length one:

    logits = s f z^T,    loss = (CE(logits, 0..B-1) + CE(logits^T, 0..B-1)) / 2,    s = exp(logit_scale) <= 100
"""

import gzip
import zlib
from collections.abc import Mapping, Sequence
from math import log
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from torch import Tensor

from vptx.backbones import TimmViT
from vptx.datasets.mini.captioned_scenes import QUESTIONS
from vptx.files import existing
from vptx.registry import MODELS
from vptx.weights.export import to_open_clip

__all__ = ['ContrastivePretraining']

_LARGEST = log(100)  # of the logarithm of the scale


@MODELS.register_module()
class ContrastivePretraining(BaseModel):
    """Train an image tower and a text tower from captions.

    Source: Radford et al. (CLIP), ICML 2021, https://arxiv.org/abs/2103.00020.

    Args:
        embed_dim: width of the joint space.
        vision_cfg: open_clip's ``vision_cfg``.
        text_cfg: its ``text_cfg``; ``vocab_size`` must be that of the vocabulary.
        vocabulary: a file of byte pair merges, as open_clip's ``SimpleTokenizer`` reads it.
        visual: ``model`` and ``weights`` of a ``TimmViT`` of the same size, from which the image
            tower starts, but for its first norm and the projection. None starts from random numbers.
        data_preprocessor: of MMEngine's BaseModel.

    Raises:
        ImportError: open_clip is not installed.
        FileNotFoundError: there is no such vocabulary.
        ValueError: the vocabulary is unreadable, or has another size than the text tower; ``visual`` is of another size
            than the image tower.
    """

    def __init__(
        self,
        embed_dim: int,
        vision_cfg: Mapping[str, Any],
        text_cfg: Mapping[str, Any],
        vocabulary: str | Path,
        visual: Mapping[str, Any] | None = None,
        data_preprocessor: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        try:
            from open_clip.model import CLIP
            from open_clip.tokenizer import SimpleTokenizer
        except ImportError as error:
            raise ImportError("contrastive pre-training needs open_clip: pip install 'vptx[clip]'") from error
        try:
            self.tokenizer = SimpleTokenizer(str(existing(vocabulary)), context_length=text_cfg['context_length'])
        except (EOFError, UnicodeDecodeError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f'{vocabulary} is no gzipped vocabulary of byte pair merges: {error}') from error
        if self.tokenizer.vocab_size != text_cfg['vocab_size']:
            raise ValueError(
                f'{vocabulary} has {self.tokenizer.vocab_size} tokens, and text_cfg.vocab_size is '
                f'{text_cfg["vocab_size"]}: they must be equal'
            )
        self.clip = CLIP(embed_dim, dict(vision_cfg), dict(text_cfg))
        if visual is not None:
            self._start(TimmViT(**visual).model.state_dict(), visual)

    def _start(self, tensors: Mapping[str, Tensor], source: Mapping[str, Any]) -> None:
        own, found = self.clip.visual.state_dict(), to_open_clip(tensors)
        fits = {name for name, value in found.items() if name in own and own[name].shape == value.shape}
        if fits != found.keys() or not own.keys() - fits <= {'proj', 'ln_pre.weight', 'ln_pre.bias'}:
            wrong = sorted((own.keys() | found.keys()) - fits - {'proj', 'ln_pre.weight', 'ln_pre.bias'})
            raise ValueError(f'{source} is of another size or kind than the image tower: {", ".join(wrong[:5])}')
        self.clip.visual.load_state_dict({**own, **found})

    def encode(self, sentences: Sequence[str]) -> Tensor:
        """n sentences -> (n, d), of length one.

        Raises:
            ValueError: a sentence that is longer than the context.
        """
        tokens = self.tokenizer(list(sentences)).to(self.clip.logit_scale.device)
        for sentence in (s for s, row in zip(sentences, tokens, strict=True) if row[-1]):
            if len(self.tokenizer.encode(sentence)) + 2 > len(tokens[0]):  # open_clip cuts what is too long
                raise ValueError(f'{sentence!r} is longer than the context of {len(tokens[0])} tokens')
        # Under a causal mask nothing after the last token that is read can change it.
        ends = tokens.argmax(-1)
        length = int(ends.max()) + 1
        x = self.clip.token_embedding(tokens[:, :length]) + self.clip.positional_embedding[:length]
        x = self.clip.transformer(x, attn_mask=self.clip.attn_mask[:length, :length])
        x = self.clip.ln_final(x[torch.arange(len(x)), ends]) @ self.clip.text_projection
        return F.normalize(x, dim=-1)

    def forward(self, inputs: Tensor, data_samples: Sequence[Any] | None = None, mode: str = 'tensor') -> Any:
        """(B, 3, H, W) -> embeddings (B, d); in mode 'loss' the loss, with a ``caption`` in every sample; in mode
        'predict' the samples, each with its ``answers`` to ``QUESTIONS``, the number of one for each."""
        images = self.clip.encode_image(inputs, normalize=True)
        if mode == 'tensor' or data_samples is None:
            return images
        if mode == 'loss':
            return self.loss(images, self.encode([sample.caption for sample in data_samples]))
        answers = {name: (images @ self.classes(name).T).argmax(-1).tolist() for name in QUESTIONS}
        for i, sample in enumerate(data_samples):
            sample.set_field({name: rows[i] for name, rows in answers.items()}, 'answers')
        return data_samples

    def loss(self, images: Tensor, captions: Tensor) -> dict[str, Tensor]:
        """Embeddings of images and of their captions, (B, d) each -> the loss, the scale, and how many captions of
        100 were found."""
        with torch.no_grad():
            self.clip.logit_scale.clamp_(0, _LARGEST)
        with torch.autocast(images.device.type, enabled=False):
            scale = self.clip.logit_scale.exp()
            logits = scale * images.float() @ captions.float().T
            right = torch.arange(len(logits), device=logits.device)
            loss = (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2
        found = 100 * (logits.argmax(-1) == right).float().mean()
        return dict(loss=loss, scale=scale.detach(), found=found)

    def classes(self, question: str) -> Tensor:
        """The answers to a question, each the average over its templates: (answers, d), of length one."""
        return self.names(QUESTIONS[question].answers, QUESTIONS[question].templates)

    @torch.no_grad()
    def names(self, names: Sequence[str], templates: Sequence[str]) -> Tensor:
        """Class names, each the average over templates of normalised embeddings: (names, d), of length one."""
        rows = [self.encode([template.format(name) for name in names]) for template in templates]
        return F.normalize(torch.stack(rows).float().mean(0), dim=-1)
