"""What a trained model makes of images: where its class tokens end up, and what they attend to.

t-SNE: van der Maaten and Hinton 2008, Visualizing Data using t-SNE; Jia et al. 2022 show it of final class tokens in
figure 9 of their supplement.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from math import ceil
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure  # without pyplot: no window, no global state
from mmengine.config import Config
from mmengine.runner import Runner
from sklearn.manifold import TSNE
from torch import nn

from vptx.analysis.attention import Listen, parted
from vptx.attach import find_prompted_network

__all__ = ['attention_shares', 'batches_of', 'draw_shares', 'draw_tsne', 'features']

# Okabe and Ito's palette, which colour-blind readers can distinguish.
COLOURS = ('#0072B2', '#D55E00', '#009E73', '#999999', '#CC79A7', '#E69F00', '#56B4E9')


def batches_of(config: Config, number: int) -> list[dict]:
    """Batches of the test split of a config, drawn at random and always the same.

    Raises:
        ValueError: it has no test split.
    """
    if not config.get('test_dataloader'):
        raise ValueError('this config has no test_dataloader to look at')
    loader = dict(config.test_dataloader, sampler=dict(type='DefaultSampler', shuffle=True, seed=0))
    return list(islice(Runner.build_dataloader(loader), number))


@torch.no_grad()
def features(model: nn.Module, batches: Iterable[dict]) -> tuple[np.ndarray, np.ndarray]:
    """What the head of a classifier of mmpretrain sees: (n, D), and the labels (n,)."""
    seen, labels = [], []
    for batch in batches:
        data = model.data_preprocessor(batch, training=False)
        seen.append(model.extract_feat(data['inputs'])[-1].flatten(1).cpu())
        labels += [int(sample.gt_label) for sample in data['data_samples']]
    return torch.cat(seen).numpy(), np.array(labels)


@torch.no_grad()
def attention_shares(model: nn.Module, batches: Iterable[dict]) -> np.ndarray:
    """Of the attention that the class token pays in each layer, the shares of prefix, prompts and patches: (L, 3).

    Means over heads and images; prompts are those before the patches and those in memory.

    Raises:
        ValueError: a network without a class token, or one whose layers attend otherwise than by one softmax each.
    """
    prompted = find_prompted_network(model)
    if prompted is None or not prompted.net.geometry.prefix:
        raise ValueError('attention is shown of prompted networks with a class token')
    prefix, depth, rows = prompted.net.geometry.prefix, prompted.net.geometry.depth, []
    for batch in batches:
        data = model.data_preprocessor(batch, training=False)
        patches = prompted.net.geometry.length(0) - prefix
        with Listen(prompted.net.model) as listening:
            model.extract_feat(data['inputs'])
        if len(listening.paid) != depth:
            raise ValueError(
                f'{depth} layers computed {len(listening.paid)} attentions: this network attends otherwise'
            )
        for queries, paid in listening.paid:
            own, given, _ = (part.sum(1) for part in parted(queries, paid, prefix, patches))
            rows.append(torch.stack([own, given, 1 - own - given], 1).mean(0))
    return torch.stack(rows).unflatten(0, (-1, depth)).mean(0).cpu().numpy()


# A legend of more classes says nothing.
NAMED = 20


def draw_tsne(found: Mapping[str, np.ndarray], labels: np.ndarray, classes: Sequence[str], seed: int = 0) -> Figure:
    """A panel for each method: its features (n, D) of the same images in the plane, a colour for each class."""
    figure, panels = _panels(len(found), 2.7, 2.8)
    shades = 10 if len(classes) <= 10 else 20
    colours = colormaps[f'tab{shades}'](range(shades))
    for panel, (name, values) in zip(panels, found.items(), strict=True):
        plane = TSNE(init='pca', perplexity=min(30, (len(values) - 1) / 3), random_state=seed).fit_transform(values)
        for label in np.unique(labels):
            x, y = plane[labels == label].T
            colour = colours[label % len(colours)]
            panel.scatter(x, y, s=7, color=colour, label=str(classes[label]), linewidths=0)
        panel.set_title(name, loc='left', fontsize=10)
        panel.set_xticks([])
        panel.set_yticks([])
        panel.spines[:].set_color('0.85')
    if len(classes) <= NAMED:
        dots = panels[0].get_legend_handles_labels()
        figure.legend(*dots, loc='outside right upper', frameon=False, fontsize=8, markerscale=2)
    return figure


def draw_shares(found: Mapping[str, np.ndarray]) -> Figure:
    """A panel for each method: a bar for each layer, what the class token attends to; shares (L, 3)."""
    depth = max(map(len, found.values()))
    figure, panels = _panels(len(found), 2.7, 0.9 + 0.22 * depth)
    for panel, (name, shares) in zip(panels, found.items(), strict=True):
        left = np.zeros(len(shares))
        for i, part in enumerate(('itself', 'prompts', 'patches')):
            panel.barh(range(1, len(shares) + 1), 100 * shares[:, i], left=100 * left, color=COLOURS[i], label=part)
            left += shares[:, i]
        panel.set_title(name, loc='left', fontsize=10)
        panel.set_ylim(len(shares) + 0.6, 0.4)
        panel.set_yticks(range(1, len(shares) + 1))
        panel.set_xlim(0, 100)
        panel.spines[:].set_visible(False)
        panel.tick_params(length=0)
    figure.supylabel('layer', fontsize=10)
    figure.supxlabel('attention of the class token, %', fontsize=10)
    figure.legend(*panels[0].get_legend_handles_labels(), loc='outside upper center', ncols=3, frameon=False)
    return figure


def _panels(number: int, width: float, height: float) -> tuple[Figure, Sequence[Any]]:
    """A figure of as many panels, in inches, four to a row."""
    columns = min(4, number)
    rows = ceil(number / columns)
    figure = Figure(figsize=(width * columns + 0.8, height * rows + 0.4), layout='constrained')
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for unused in panels[number:]:
        unused.remove()
    return figure, [*panels[:number]]
