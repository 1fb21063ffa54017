"""A prompt one can look at: learnt pixels, images without and with them, and what the network's classes are read as."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from textwrap import fill
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vptx.attach import find_prompted_network
from vptx.hooks.label_mapping_hook import strongest_sources
from vptx.image_files import choose_bands
from vptx.mappings.base import CountedMapping, LabelMapping
from vptx.pixel_file import read_pixels
from vptx.prompted import PromptedNetwork

__all__ = ['check_pixels', 'draw_prompt', 'seen_by']

SHOWN = 6  # images
LINES = 16  # of a mapping
GREY = '0.35'


def check_pixels(model: nn.Module) -> PromptedNetwork:
    """The prompted network of a model whose prompter has pixels, on the image or next to it.

    Raises:
        ValueError: there are none.
    """
    network = find_prompted_network(model)
    if network is None or ('image' not in network.prompter.doors and network.prompter.pixels() is None):
        name = type(model if network is None else network.prompter).__name__
        raise ValueError(f'{name} has no learnt pixels (door 1): there is nothing to show')
    return network


@contextmanager
def seen_by(model: nn.Module, most: int = SHOWN) -> Iterator[list[Tensor]]:
    """Notes the first images (C, H, W) that the prompted network of ``model`` is given, normalised as it wants them."""
    network, seen = find_prompted_network(model), list[Tensor]()
    assert network is not None

    def note(module: nn.Module, inputs: tuple[Tensor]) -> None:
        seen.extend(inputs[0][: most - len(seen)].detach())

    handle = network.register_forward_pre_hook(note)
    try:
        yield seen
    finally:
        handle.remove()


@dataclass
class Panel:
    """A picture, and what the figure says of it.

    Attributes:
        title: above the picture.
        picture: (H, W, 3) or (H, W, 4) of numbers in [0, 1]; (H, W) of any numbers with ``scaled``.
        note: below the picture.
        scaled: whether the colours of ``picture`` come from a scale, which is drawn next to it.
    """

    title: str
    picture: np.ndarray
    note: str
    scaled: bool = False


def _array(pixels: Tensor) -> np.ndarray:
    """(C, H, W) -> (H, W, C)"""
    return pixels.detach().float().cpu().permute(1, 2, 0).numpy()


def _stretched(values: Tensor, there: Tensor | None = None) -> tuple[Tensor, str]:
    """Colours, as they are where they can be; else so that the darkest is black and the brightest white."""
    used = values if there is None else values[:, there]
    low, high = used.min().item(), used.max().item()
    if low >= 0 and high <= 1:
        return values, f'colours as they are:\n{255 * low:.0f} to {255 * high:.0f}, of 255'
    return (values - low) / (
        high - low
    ), f'colours drawn so that black is {255 * low:.0f}\nand white {255 * high:.0f}, of 255'


def _levels(largest: float) -> str:
    levels = 255 * largest
    return f'\N{PLUS-MINUS SIGN}{levels:.{0 if levels >= 10 else 2}f}, of 255'


def _learnt(network: PromptedNetwork, mean: Tensor, std: Tensor, sample: Tensor, drawn: list[int]) -> list[Panel]:
    """Pictures of what is the same for all images, in the channels ``drawn``."""
    panels, prompter, own = [], network.prompter, network.net.geometry.channels
    try:
        found = read_pixels(network)
    except ValueError:
        found = None  # each image has its own, or none is added
    if found is not None and found.around:
        there = found.outside()
        picture, description = _stretched(found.pixels()[drawn], there)
        picture = torch.cat([picture, there[None].to(picture)])
        _, _, height, width = found.window
        panels.append(Panel('learnt pixels', _array(picture), f'{description}; around images of {height} x {width} px'))
    elif found is not None:
        change = found.pixels()
        largest = change.abs().max().item()
        picture = 0.5 + change[drawn] / (2 * largest or 1)
        description = f'grey is no change, black and white\nare {_levels(largest)}'
        panels.append(Panel('learnt pixels, added', _array(picture), description))
        strength = 255 * change.abs().mean(0, keepdim=True)
        over = 'red, green and blue' if own == 3 else 'all channels'
        panels.append(Panel('their strength', _array(strength)[..., 0], f'mean over {over},\nof 255', True))
    channels = prompter.image(sample[None])[0, own:]
    if len(channels):
        picture, low, high = channels[:3], channels.min().item(), channels.max().item()
        picture = (picture - low) / (high - low)
        picture = picture if len(picture) == 3 else picture[:1].expand(3, -1, -1)
        description = f'drawn from black to white,\nfrom {low:.2f} to {high:.2f} as the network sees them'
        panels.append(Panel(f'learnt channels ({len(channels)})', _array(picture), description))
    strip = prompter.pixels()
    if strip is not None:
        picture, description = _stretched((_tiled(strip, *network.net.geometry.patch) * std + mean)[drawn])
        panels.append(Panel('learnt patches', _array(picture), description))
    return panels


def _tiled(strip: Tensor, height: int, width: int) -> Tensor:
    """P patches in a row (C, h, P * w) -> in a square as far as they fill it."""
    patches = strip.unflatten(2, (-1, width)).unbind(2)
    columns = ceil(len(patches) ** 0.5)
    empty = torch.zeros_like(patches[0])
    rows = [patches[i : i + columns] for i in range(0, len(patches), columns)]
    return torch.cat([torch.cat([*row, *[empty] * (columns - len(row))], dim=2) for row in rows], dim=1)


@torch.no_grad()
def draw_prompt(
    model: nn.Module, images: Sequence[Tensor], captions: Sequence[str] = (), bands: Sequence[int] | None = None
) -> Any:
    """A figure: the learnt pixels of ``model``, images without and with them, and its label mapping.

    Args:
        model: from ``vptx.init_model``.
        images: of ``seen_by``, at least one.
        captions: of the images, maybe more than there are; what the model says of them.
        bands: the three channels to draw as red, green and blue, or the one to draw as grey, counted from 1.

    Raises:
        ValueError: of ``check_pixels``; bands that the images do not have.
    """
    from matplotlib.figure import Figure  # without pyplot: no window, no global state

    network = check_pixels(model)
    geometry = network.net.geometry
    drawn, own = choose_bands(geometry.channels, bands), geometry.channels
    mean, std = (
        torch.tensor(values if len(values) == own else (fallback,) * own, device=images[0].device)[:, None, None]
        for values, fallback in ((geometry.mean, 0.5), (geometry.std, 0.25))
    )
    prompted = [network.prompter.image(image[None])[0, :own] for image in images]
    panels = _learnt(network, mean, std, images[0], drawn)
    rows = [('as they are', [(image * std + mean)[drawn] for image in images])]
    if any(after.shape != before.shape or (after != before).any() for before, after in zip(images, prompted)):
        rows.append(('prompted', [(image * std + mean)[drawn] for image in prompted]))
    note = ''
    low, high = (function(torch.stack(rows[0][1])).item() for function in (torch.min, torch.max))
    if own != 3 and (low < 0 or high > 1) and high > low:  # in units of another sensor
        rows = [(name, [(picture - low) / (high - low) for picture in pictures]) for name, pictures in rows]
    alone = [after - before for before, after in zip(images, prompted) if after.shape == before.shape]
    if not panels and len(alone) == len(images):
        largest = max((change * std).abs().max().item() for change in alone) or 1.0
        rows.append(('what changed', [(0.5 + change * std / (2 * largest))[drawn] for change in alone]))
        note = f'Not the same for every image. Grey is no change, black and white are {_levels(largest)}'

    mapped = _mapping(network.mapping, (getattr(model, 'dataset_meta', None) or {}).get('classes') or (), network)
    upper = 3.0 if panels or mapped else 0.0
    widths = [2.6] * len(panels) + [4.8] * bool(mapped)
    width = max(1.45 * SHOWN + 0.5, sum(widths))
    figure = Figure(figsize=(width, upper + 1.62 * len(rows)), layout='constrained')
    parts = figure.subfigures(
        2 if upper else 1, 1, squeeze=False, height_ratios=[upper] * bool(upper) + [1.62 * len(rows)]
    )
    if upper:
        axes = parts[0, 0].subplots(1, len(widths), squeeze=False, width_ratios=widths)[0]
        for axis, panel in zip(axes, panels):
            _draw_panel(axis, panel)
        if mapped:
            _draw_mapping(axes[-1], network.mapping, mapped)
    _draw_rows(parts[-1, 0], rows, captions)
    parts[-1, 0].supxlabel(note, fontsize=8, color=GREY)
    return figure


def _bare(axis: Any) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_visible(False)


def _draw_panel(axis: Any, panel: Panel) -> None:
    _bare(axis)
    axis.set_anchor('NW')
    axis.set_title(panel.title, fontsize=10, fontweight='bold', loc='left')
    if panel.scaled:
        drawn = axis.imshow(panel.picture, cmap='magma', vmin=0)
        bar = axis.figure.colorbar(drawn, ax=axis, fraction=0.046, pad=0.03)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=8, length=0)
    else:
        axis.imshow(np.clip(panel.picture, 0, 1))
    axis.set_xlabel(panel.note, fontsize=8, color=GREY, loc='left')


def _mapping(mapping: LabelMapping, classes: Sequence[str], network: PromptedNetwork) -> list[tuple[str, str]]:
    """Target and sources, a line each; none where there is no mapping, none yet, or one that reads class names."""
    reads_names = mapping.class_names or mapping.awaits_classes
    if not mapping.num_classes or reads_names or (isinstance(mapping, CountedMapping) and not mapping.ready):
        return []
    lines, names = [], network.net.class_names
    for target, found, more in strongest_sources(mapping, LINES):
        space = 34 if len(found) == 1 else 14
        description = [
            _short(names[source] if names else str(source), space) + ('' if weight == 1 else f' ({weight:.2f})')
            for source, weight in found[:2]  # for which there is space
        ]
        lines.append(
            (
                _short(classes[target] if classes else str(target), 18),
                ', '.join(description) + ', ...' * (more or len(found) > 2),
            )
        )
    return lines


def _short(name: str, space: int) -> str:
    """The first of several names for one thing, cut off where there is no space."""
    first = name.partition(',')[0]
    return first if len(first) <= space else f'{first[: space - 1].rstrip()}\N{HORIZONTAL ELLIPSIS}'


def _draw_mapping(axis: Any, mapping: LabelMapping, lines: Sequence[tuple[str, str]]) -> None:
    _bare(axis)
    title = f"{type(mapping).__name__}: class \N{LEFTWARDS ARROW} network's class"
    axis.set_title(title, fontsize=10, fontweight='bold', loc='left')
    step = 1 / max(len(lines) + 1, 10)
    # Targets stand as far to the right as the longest of them needs.
    space = 0.05 + 0.021 * max(len(target) for target, _ in lines)
    options = dict(fontsize=8, va='center', transform=axis.transAxes, in_layout=False)
    for i, (target, sources) in enumerate(lines):
        y = 1 - (i + 0.5) * step
        axis.text(space - 0.02, y, target, ha='right', fontweight='bold', **options)
        axis.text(space, y, f'\N{LEFTWARDS ARROW} {sources}', **options)
    left = mapping.num_classes - len(lines)
    if left:
        axis.text(space, 1 - (len(lines) + 0.5) * step, f'and {left} more', color=GREY, **options)


def _draw_rows(part: Any, rows: Sequence[tuple[str, list[Tensor]]], captions: Sequence[str]) -> None:
    axes = part.subplots(len(rows), SHOWN, squeeze=False)
    for axis in axes.flat:
        _bare(axis)
    for line, (name, images) in zip(axes, rows):
        line[0].set_ylabel(name, fontsize=9, fontweight='bold')
        for axis, image in zip(line, images):
            axis.imshow(np.clip(_array(image), 0, 1))
        for axis in line[len(images) :]:
            axis.set_visible(False)
    for axis, caption in zip(axes[-1], captions):
        axis.set_xlabel(fill(caption, 24), fontsize=8)
