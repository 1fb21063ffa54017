"""Class names as the classifier of a CLIP: Radford et al., "Learning Transferable Visual Models From Natural Language
Supervision", ICML 2021, https://arxiv.org/abs/2103.00020

    l = scale * normalise(x) Z^T,    Z (C, d) the features of the class names, each of length 1

x (B, d) is what the image tower's own classifier gives: timm's ``vit_*_clip_quickgelu_*`` and ``resnet50_clip`` built
with ``num_classes=d`` have CLIP's projection there. Nothing trains, or a prompter on the text side does.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vptx.mappings.base import LabelMapping
from vptx.mappings.pulls import Forward, Pull
from vptx.registry import MAPPINGS, PULLS, build
from vptx.text import PromptedText

__all__ = ['TextHead']

#: What a text side has as long as its head is not named.
_UNNAMED = ('a',)


@MAPPINGS.register_module()
class TextHead(LabelMapping):
    """Logits of class names, by a frozen text tower.

        mapping=dict(
            type='TextHead',
            tower=dict(model='ViT-B-16-quickgelu', pretrained='openai'),
            classes=['cat', 'owl'],
            prompter=dict(type='ContextPrompter', num_tokens=16),
        )

    Source: Radford et al. (CLIP), ICML 2021, https://arxiv.org/abs/2103.00020.

    Args:
        tower: The config of a text tower, ``OpenCLIPText``, or a tower that is built.
        classes: The names of the classes. By default they are those of the data set, or of the prompt file.
        template, average, prompter, whole: As for ``PromptedText``.
        scale: The factor of the cosines. By default it is the tower's own.
        pulls: Terms of the loss, or their configs, that keep features near those of the frozen towers: ``TextPull``,
            ``ImagePull``, ``LogitPull``.

    Attributes:
        text: The text side. Its ``prompter`` is what trains here.
        own_facts: The facts of a subclass that a prompt file must agree with besides.

    Raises:
        ImportError: open_clip is not installed.
        RuntimeError: Scores are asked for before there are class names.
        ValueError: An option of ``PromptedText`` is wrong. Or, when the head is bound, the network's logits have
            another width than the joint space of the tower, or there are vectors of each class without class names.
    """

    own_facts: tuple[str, ...] = ()
    unit = True

    def __init__(
        self,
        tower: Any,
        classes: Sequence[str] | None = None,
        template: str | Sequence[str] = 'a photo of a {}.',
        average: str = 'normalised',
        prompter: Any = None,
        scale: float | None = None,
        whole: bool = False,
        pulls: Sequence[Pull | dict] = (),
    ) -> None:
        super().__init__()
        if scale is not None and not (isinstance(scale, (int, float)) and 0 < scale < float('inf')):
            raise ValueError(f'scale must be a number above 0, not {scale!r}')
        self.named = classes is not None
        self.text = PromptedText(tower, _UNNAMED if classes is None else classes, template, average, prompter, whole)
        self.num_classes = len(self.text.classes)
        self._scale = scale
        self.pulls = nn.ModuleList(build(PULLS, pull) for pull in pulls)
        twice = [name for name, count in Counter(type(pull).__name__ for pull in self.pulls).items() if count > 1]
        if twice:
            raise ValueError(f'pulls has more than one {twice[0]}: leave one')
        self._frozen_images: Tensor | None = None
        self._seen: Forward | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_frozen_images': None, '_seen': None}  # a copy has no graph

    def bind(self, sources: int) -> None:
        net = self.text.net
        if sources != net.embed_dim:
            raise ValueError(
                f'the text tower {net.geometry.name} has features of {net.embed_dim} numbers, and the image network '
                f'gives {sources}: build it with num_classes={net.embed_dim}, as the image side of the same CLIP'
            )
        if self.text.prompter.per_class and not self.named:
            raise ValueError(
                f'{type(self.text.prompter).__name__} learns vectors for each class, so it has to be known which '
                'classes: give the head their names, classes=[...]'
            )
        self.text.start()
        idle = [type(pull).__name__ for pull in self.pulls if pull.of_classes]
        if idle and not any(True for _ in self.text.prompter.parameters()):
            raise ValueError(
                f'{idle[0]} pulls features of classes, and nothing on the text side trains: give the head a prompter, '
                'or leave the pull out'
            )

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.text.classes if self.named else ()

    @property
    def awaits_classes(self) -> bool:
        return not self.named

    @property
    def adopts_classes(self) -> bool:
        return not self.named

    def adopt(self, facts: Mapping[str, Any]) -> None:
        if facts.get('classes'):
            self._name(facts['classes'])

    @property
    def is_open(self) -> bool:
        return not self.text.prompter.per_class

    @property
    def scale(self) -> Tensor | float:
        """The factor of cosines."""
        return self.text.net.logit_scale.exp() if self._scale is None else self._scale

    def set_classes(self, classes: Sequence[str], template: str | Sequence[str] | None = None) -> None:
        """Read other class names, by other templates if they are given, without training.

        Raises:
            ValueError: see ``vptx.text.PromptedText.set_classes``.
        """
        self._name(classes, template)

    def _name(self, classes: Sequence[str], template: str | Sequence[str] | None = None) -> None:
        self.text.set_classes(classes, template)
        self.num_classes, self.named = len(self.text.classes), True

    def forward(self, logits: Tensor) -> Tensor:
        """Embeddings of images (B, d) -> (B, C)"""
        if not self.named:
            raise RuntimeError(
                f'{type(self).__name__} has no class names yet: give it classes=[...], train or test it on a data set '
                'with names, load a prompt file, or call vptx.set_classes(model, [...])'
            )
        features = self.text(logits if self.text.prompter.takes_note else None)
        scores = self.score(logits, features)
        frozen, self._frozen_images, self._seen = self._frozen_images, None, None
        if len(self.pulls) and torch.is_grad_enabled():
            images = F.normalize(logits, dim=-1)
            self._seen = Forward(images, features, scores, frozen, self.text.frozen, self.score)
        return scores

    def score(self, x: Tensor, features: Tensor) -> Tensor:
        """Embeddings of images (B, d), and features of classes (C, d), or (B, C, d) of each image -> (B, C)"""
        x, features = F.normalize(x, dim=-1), features.to(x.dtype)
        scaled = (self.scale * x).to(x.dtype)
        logits = scaled @ features.T if features.dim() == 2 else (features @ scaled[:, :, None])[..., 0]
        return logits + self.text.net.logit_bias.to(x.dtype)

    def matrix(self) -> Tensor:
        """scale * Z^T (d, C), for embeddings of length 1.

        Raises:
            ValueError: a prompter whose features depend on the image.
        """
        if self.text.prompter.takes_note:
            raise ValueError(f'{type(self.text.prompter).__name__} makes other features of the classes for each image')
        with torch.no_grad():
            return self.scale * self.text().T

    def linear(self) -> nn.Linear:
        """A linear layer with the same logits for embeddings of length 1, without tower and tokenizer:
        ``linear(F.normalize(x, dim=-1))``."""
        matrix = self.matrix()
        linear = nn.Linear(len(matrix), matrix.shape[1], device=matrix.device, dtype=matrix.dtype)
        with torch.no_grad():
            linear.weight.copy_(matrix.T)
            linear.bias.copy_(self.text.net.logit_bias.expand(len(linear.bias)))
        return linear

    def as_linear(self) -> nn.Linear:
        return self.linear()

    def language(self) -> tuple[Tensor, ...]:
        return self.text.prompter.language()

    @property
    def reads_frozen(self) -> bool:
        return any(pull.reads_frozen for pull in self.pulls)

    def take_frozen(self, logits: Tensor) -> None:
        self._frozen_images = F.normalize(logits, dim=-1)

    def loss(self) -> dict[str, Tensor]:
        """Terms of the prompter of the text side, and of the pulls, of the last forward that had gradients."""
        pulls = {type(pull).__name__: pull(self._seen) for pull in self.pulls} if self._seen else {}
        return {**self.text.prompter.loss(), **pulls}

    @property
    def adds_loss(self) -> bool:
        return self.text.prompter.adds_loss or len(self.pulls) > 0

    def frozen_tensors(self) -> Iterable[tuple[str, Tensor]]:
        yield from self.text.frozen_tensors()
        if self._scale is not None:
            yield 'scale', torch.tensor(float(self._scale))

    def facts(self) -> dict[str, Any]:
        text, prompter = self.text, self.text.prompter
        return dict(
            tower=text.net.geometry.name,
            vocabulary=text.net.vocabulary,
            context=text.net.geometry.tokens,
            templates=list(text.templates),
            average=text.average,
            prompter=type(prompter).__name__,
            prompter_settings=prompter.settings,
            class_specific=prompter.per_class,
            classes=list(self.class_names),
            scale=float(self.scale),
        )

    def check_facts(self, facts: Mapping[str, Any], where: str | Path) -> None:
        here = self.facts()
        names = ['vocabulary', 'context', 'prompter', 'prompter_settings', 'class_specific', *self.own_facts]
        learns = any(True for _ in self.text.prompter.parameters())
        names += [] if learns and self.text.prompter.phrase is not None else ['templates', 'average']
        names += ['classes'] if here['class_specific'] else []
        others = [name for name in names if facts.get(name) != here[name]]
        if others:
            name = others[0]
            raise ValueError(
                f'{where} was trained with {name}={facts.get(name)!r} of its text head, this model has {here[name]!r}: '
                'attach it as in the file'
            )
        nameless = self.is_open and facts.get('classes') == []  # a file whose head had no names either
        if self.adopts_classes and not nameless:
            try:
                self.text.check_classes(facts.get('classes'))
            except ValueError as error:
                raise ValueError(f'{where}: {error}') from error
