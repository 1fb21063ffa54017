"""Learnt pixels as a file that needs no vptx.

What a prompter at door 1 does to an image, if it is the same for every image, is one sentence:

    x' = delta,    and in a window of it    x' += x

delta (3, H, W) is what the network sees where there is no image: learnt pixels and, around a smaller image, what they
are on. The window is where the image goes, which is resized to it if it has another size; it is all of delta where
pixels are added to a whole image. All of it is in the network's own numbers, pixels in [0, 1] minus mean, by std.

Both are read off the prompter by asking it for two images, and checked by a third: how it computes does not matter.
"""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import save
from torch import Tensor, nn

from vptx.attach import find_prompted_network
from vptx.files import write_whole
from vptx.prompters.pixels import pixel_statistics

__all__ = ['PixelPrompt', 'export_pixels', 'read_pixels']

FORMULA = (
    'x = (pixels - mean) / std, of pixels in [0, 1], RGB, resized to height and width of the window if they have '
    "another size (bilinear, antialiased); x' = delta, and x is added to x' in the window (top, left, height, width); "
    "x' goes into the network"
)
ADDED = "x' = x + (PNG / 127.5 - 1), of pixels x and x' in [0, 1] and PNG in 0 to 255: grey changes nothing"
AROUND = 'the image goes into the transparent window; the PNG is what the network sees around it'


@dataclass
class PixelPrompt:
    """What a prompter does to every image.

    Attributes:
        delta: (3, H, W), in the network's numbers.
        window: top, left, height and width of where the image goes.
        mean, std: (3, 1, 1), of pixels in [0, 1].
    """

    delta: Tensor
    window: tuple[int, int, int, int]
    mean: Tensor
    std: Tensor

    @property
    def around(self) -> bool:
        """Whether pixels are around a smaller image, and not on a whole one."""
        return self.window != (0, 0, *self.delta.shape[1:])

    def pixels(self) -> Tensor:
        """(3, H, W) in units of pixels in [0, 1]: colours, of pixels around an image; differences, of those on it."""
        return self.delta * self.std + (self.mean if self.around else 0)

    def outside(self) -> Tensor:
        """(H, W), whether a pixel is outside of the window."""
        top, left, height, width = self.window
        found = torch.ones(self.delta.shape[1:], dtype=torch.bool, device=self.delta.device)
        found[top : top + height, left : left + width] = False
        return found

    def apply(self, image: Tensor) -> Tensor:
        """(B, 3, h, w) -> (B, 3, H, W), both normalised."""
        top, left, height, width = self.window
        prompted = self.delta.repeat(len(image), 1, 1, 1)
        resized = F.interpolate(image, (height, width), mode='bilinear', antialias=True)
        prompted[:, :, top : top + height, left : left + width] += resized
        return prompted


@torch.no_grad()
def read_pixels(model: nn.Module) -> PixelPrompt:
    """What the prompter of ``model`` does to every image.

    Raises:
        ValueError: there is no prompter on the image; or it is no such sentence: it depends on the image, moves,
            zooms or covers it, or adds channels; or the normalisation of the network's pixels is unknown.
    """
    prompted_network = find_prompted_network(model)
    name = type(prompted_network.prompter).__name__ if prompted_network else type(model).__name__
    if prompted_network is None or 'image' not in prompted_network.prompter.doors:
        raise ValueError(f'{name} has no pixels on the image (door 1): there is nothing to export')
    geometry, device = prompted_network.net.geometry, next(prompted_network.parameters()).device
    if not geometry.mean:
        raise ValueError(f'the pixel normalisation of {geometry.name} is unknown: it has no mean and std')
    was_training = prompted_network.training
    prompted_network.eval()
    noise = torch.randn(2, geometry.channels, *geometry.image, generator=torch.Generator().manual_seed(0)).to(device)
    delta, bright = prompted_network.prompter.image(
        torch.stack([torch.zeros_like(noise[0]), torch.ones_like(noise[0])])
    )
    seen = prompted_network.prompter.image(noise)
    prompted_network.train(was_training)
    places = (bright - delta).abs().amax(0).nonzero()
    if delta.shape[0] == geometry.channels and len(places):
        (top, left), (bottom, right) = places.amin(0).tolist(), (places.amax(0) + 1).tolist()
        mean, std = (torch.tensor(values, device=device)[:, None, None] for values in pixel_statistics(geometry))
        found = PixelPrompt(delta, (top, left, bottom - top, right - left), mean, std)
        if torch.allclose(found.apply(noise), seen, rtol=1e-4, atol=1e-4):
            return found
    raise ValueError(
        f'{name} cannot be written as pixels that any program can add: what it does depends on the image, zooms, '
        'moves or covers it, or adds channels; its prompt file (vptx.save_prompt) is the way to keep it'
    )


def export_pixels(model: nn.Module, path: str | Path) -> str:
    """Write the learnt pixels of ``model`` to a file that can be used without vptx.

    A ``.safetensors`` file holds the tensors ``delta``, ``window``, ``mean`` and ``std``. Its metadata has the formula
    in words, and docs/pixels.md has it in five lines of torch. A ``.png`` file is the same as an image of 8 bits:
    colours around a transparent window, or differences, where grey is no difference. Prompt tokens and label mappings
    are not written.

    Args:
        model: A model that ``vptx.attach`` or ``vptx.init_model`` returned, with a prompter that changes pixels.
        path: The file to write. Its ending is ``.safetensors`` or ``.png``.

    Returns:
        What is in the file, and how much of it was clipped.

    Raises:
        ValueError: The model has no learnt pixels that can be written without an image (``read_pixels`` says why), or
            the path has another ending.
    """
    path, prompt = Path(path), read_pixels(model)
    writers = {'.safetensors': _safetensors, '.png': _png}
    if path.suffix not in writers:
        raise ValueError(f'learnt pixels are exported as {" or ".join(writers)}, not {path.name}')
    if path.suffix == '.png' and len(prompt.delta) != 3:
        raise ValueError(
            f'a PNG of learnt pixels holds three channels, and these have {len(prompt.delta)}: export .safetensors'
        )
    content, note = writers[path.suffix](prompt, find_prompted_network(model).net.geometry.name)
    write_whole(path, content)
    return note


def _safetensors(prompt: PixelPrompt, network: str) -> tuple[bytes, str]:
    tensors = dict(delta=prompt.delta, window=torch.tensor(prompt.window), mean=prompt.mean, std=prompt.std)
    height, width = prompt.delta.shape[1:]
    facts = dict(
        formula=FORMULA,
        space='normalised: delta and x are pixels in [0, 1], RGB, minus mean, divided by std',
        mean=str([round(value, 6) for value in prompt.mean.flatten().tolist()]),
        std=str([round(value, 6) for value in prompt.std.flatten().tolist()]),
        size=f'{height} x {width} px, the image at {prompt.window} (top, left, height, width)',
        network=network,
    )
    return save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, facts), FORMULA


def _png(prompt: PixelPrompt, network: str) -> tuple[bytes, str]:
    # Differences are in [-1, 1], colours in [0, 1].
    values = prompt.pixels() if prompt.around else (prompt.pixels() + 1) / 2
    there = prompt.outside() if prompt.around else torch.ones_like(prompt.outside())
    clipped = ((values < 0) | (values > 1))[:, there].float().mean().item()
    levels = (values.clamp(0, 1) * 255).round().byte()
    channels = [*levels, there.byte() * 255] if prompt.around else [*levels]
    facts = PngInfo()
    note = (
        f'{AROUND if prompt.around else ADDED}; {clipped:.1%} of the values were outside of what a PNG holds and are '
        'clipped, the others rounded to 8 bits'
    )
    facts.add_text('Description', f'Learnt pixels for {network}: {note}')
    drawn = BytesIO()
    Image.fromarray(np.stack([channel.cpu().numpy() for channel in channels], -1)).save(drawn, 'PNG', pnginfo=facts)
    return drawn.getvalue(), note
