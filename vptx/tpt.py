"""Learnt words that are tuned for each test image: Shu et al., "Test-Time Prompt Tuning for Zero-Shot Generalization in
Vision-Language Models" (TPT), NeurIPS 2022, https://arxiv.org/abs/2209.07511

    V' = one AdamW step on V against H(mean_k p(x_k)),    l = l(x; V')

x_k are the views of a test image x, random crops of it and itself, on which the model is surest: of 64 the 6 of lowest
entropy H. No label is used. V and the optimizer are what they were, before the next image.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseTTAModel
from torch import Tensor, nn

from vptx.attach import find_prompted_network
from vptx.mappings.text import TextHead
from vptx.prompted import PromptedNetwork
from vptx.prompters.base import check_whole
from vptx.registry import MODELS
from vptx.trainable import unwrap_model

__all__ = ['TPTModel', 'entropy', 'tuned_logits']


def entropy(logits: Tensor) -> Tensor:
    """H of the softmax over the classes: (..., C) -> (...)"""
    shares = F.log_softmax(logits, dim=-1)
    return -(shares.exp() * shares).sum(-1)


def mean_entropy(logits: Tensor) -> Tensor:
    """H of the mean of the softmax of several views: (V, C) -> ()"""
    return entropy(F.log_softmax(logits, dim=-1).logsumexp(0))  # a constant in logits changes nothing


def tuned_logits(head: TextHead, x: Tensor, keep: float = 0.1, lr: float = 5e-3, steps: int = 1) -> Tensor:
    """Logits of an image by prompts that were tuned for it; afterwards they are what they were, to the bit.

    Args:
        head: whose text prompter is tuned.
        x: embeddings of the image and of its views (V, d), the image first.
        keep: which share of the views counts.
        lr: of AdamW.
        steps: how many there are.

    Returns:
        (1, C)

    Raises:
        ValueError: a head without prompts on the text side, or whose prompts do not train.
    """
    learnt = [parameter for parameter in head.text.prompter.parameters() if parameter.requires_grad]
    if not learnt:
        raise ValueError(
            f'{type(head).__name__} has nothing that could be tuned for an image: give it a text prompter, such as '
            "prompter=dict(type='ContextPrompter', words='a photo of a')"
        )
    with _restored(learnt):
        optimizer = torch.optim.AdamW(learnt, lr=lr)
        with torch.enable_grad():
            chosen = None
            for _ in range(steps):
                logits = head(x)
                if chosen is None:
                    chosen = entropy(logits).argsort(stable=True)[: max(1, int(keep * len(x)))]
                optimizer.zero_grad()
                mean_entropy(logits[chosen]).backward(inputs=learnt)
                optimizer.step()
        with torch.no_grad():
            return head(x[:1])


@contextmanager
def _restored(learnt: list[nn.Parameter]) -> Iterator[None]:
    """Values and gradients are afterwards what they were before."""
    before = [(parameter.detach().clone(), parameter.grad) for parameter in learnt]
    for parameter in learnt:
        parameter.grad = None
    try:
        yield
    finally:
        for parameter, (value, gradient) in zip(learnt, before, strict=True):
            with torch.no_grad():
                parameter.copy_(value)
            parameter.grad = gradient


@MODELS.register_module()
class TPTModel(BaseTTAModel):
    """A classifier with a text head that tunes its prompts for each test image, on views of it.

    ``vptx test --tpt`` and ``vptx predict --tpt`` use it. In a config:

        tta_model = dict(type='TPTModel')
        tta_pipeline = [dict(type='LoadImageFromFile'), dict(type='RandomViews', prepare=[...], pack=...)]

    Source: Shu et al. (TPT), NeurIPS 2022, https://arxiv.org/abs/2209.07511.

    Args:
        module: the classifier.
        keep, lr, steps: of ``tuned_logits``.
        **options: of MMEngine's BaseTTAModel.

    Raises:
        ValueError: options out of range; when asked, a model without a text head.
    """

    def __init__(self, module: Any, keep: float = 0.1, lr: float = 5e-3, steps: int = 1, **options: Any) -> None:
        super().__init__(module, **options)
        if not 0 < keep <= 1:
            raise ValueError(f'keep must be a share of the views, above 0 and up to 1, not {keep!r}')
        self.keep, self.lr, self.steps = keep, lr, check_whole('steps', steps)

    @property
    def network(self) -> PromptedNetwork:
        """The prompted network, with a text head.

        Raises:
            ValueError: there is none.
        """
        model = unwrap_model(self.module)
        prompted = find_prompted_network(model)
        if prompted is None or not isinstance(prompted.mapping, TextHead):
            raise ValueError(
                f'prompts are tuned for each test image in a text head, which {type(model).__name__} does not have: '
                "set mapping=dict(type='TextHead', prompter=dict(type='ContextPrompter', ...), ...) of PromptTuningHook"
            )
        return prompted

    def test_step(self, data: dict) -> list:
        """Lists over views, of lists over images -> a sample for each image, with its scores."""
        prompted, model = self.network, unwrap_model(self.module)
        found = []
        for index, sample in enumerate(data['data_samples'][0]):
            views = model.data_preprocessor(dict(inputs=[view[index] for view in data['inputs']]), False)['inputs']
            with torch.no_grad():
                x: Any = prompted.forward_unmapped(views)
            logits = tuned_logits(prompted.mapping, x, self.keep, self.lr, self.steps)
            found += model.head.predict((logits,), [sample])
        return found

    def merge_preds(self, data_samples_list: Any) -> list:
        """Never called: views are merged before the prediction."""
        raise NotImplementedError
