"""Images that come in over a network: looked at before they are decoded, and prepared as a config's test does."""

import base64
import binascii
import io
import warnings
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, NamedTuple

import torch.nn.functional as F
from mmengine.config import Config
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from vptx.datasets.pipeline import ImageReader, set_test_pipeline, test_pipeline

__all__ = ['FORMATS', 'Photograph', 'Pictures', 'RefusedImage', 'from_base64']

#: Whose size is in the first bytes, with the suffix by which they are read.
FORMATS = dict(JPEG='.jpg', PNG='.png', WEBP='.webp', BMP='.bmp')


class RefusedImage(ValueError):  # noqa: N818  what was done, not what is wrong
    """An image that a server does not take.

    Args:
        message: what is wrong with it.
        status: of HTTP, by which the server says so.
    """

    def __init__(self, message: str, status: int = 422) -> None:
        super().__init__(message)
        self.status = status


class Photograph(NamedTuple):
    """An image for a segmentor.

    Attributes:
        pixels: as a batch is made of them (3, H, W), of any size.
        size: height and width that the image came with.
    """

    pixels: Tensor
    size: tuple[int, int]


def from_base64(text: Any) -> bytes:
    """The content of an image as JSON has it, with or without ``data:...;base64,`` before it.

    Raises:
        RefusedImage: no text in base64.
    """
    if not isinstance(text, str):
        raise RefusedImage(f'an image in JSON is a text in base64, not {type(text).__name__}', 400)
    try:
        return base64.b64decode(text.rpartition(',')[2] if text.startswith('data:') else text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RefusedImage(f'an image in JSON is a text in base64: {error}', 400) from error


@dataclass
class Pictures:
    """Reads images, each by itself: it may be called in several threads.

    Args:
        config: of the model; its test pipeline prepares images. Where its data set gives pixels and reads no files,
            images are read, and resized to ``size``. A segmentor's images may have other sizes, too.
        size: height and width of the network's images.
        pixels: the most that an image may have.
    """

    config: Config
    size: tuple[int, int]
    pixels: int = 40_000_000

    def __post_init__(self) -> None:
        config = deepcopy(self.config)
        steps = test_pipeline(config)
        kinds = [str(step.get('type')) for step in steps]
        self._resizes = not any('Load' in kind and not kind.endswith('LoadAnnotations') for kind in kinds)
        if self._resizes:
            set_test_pipeline(config, [dict(type='LoadImageFromFile'), *steps])
        self._reader = ImageReader(config)
        self._segments = 'decode_head' in config.model

    def look(self, content: bytes) -> tuple[str, tuple[int, int]]:
        """Format, width and height, without decoding anything.

        Raises:
            RefusedImage: no image of ``FORMATS``, or one of too many pixels.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')  # of many pixels; they are counted here
                with Image.open(io.BytesIO(content), formats=list(FORMATS)) as image:
                    # A photograph with a second one in it, as telephones write it, begins as any JPEG.
                    kind, size = str(image.format).replace('MPO', 'JPEG'), image.size
        except Image.DecompressionBombError:
            raise RefusedImage(f'an image of more than {self.pixels:,} pixels', 413) from None
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
            raise RefusedImage(f'no image of {", ".join(FORMATS)}, or one that is cut short') from error
        if size[0] * size[1] > self.pixels:
            raise RefusedImage(f'an image of {size[0]} x {size[1]} pixels, more than {self.pixels:,}', 413)
        return kind, size

    def __call__(self, content: bytes) -> Tensor | Photograph:
        """The image as a batch is made of it (3, H, W); with the size that it came with, for a segmentor.

        Raises:
            RefusedImage: see ``look``; one that is truncated, or of which the pipeline makes another size than the
                network's.
        """
        kind, _ = self.look(content)
        try:
            with Image.open(io.BytesIO(content), formats=[kind]) as image:
                image.load()  # says what is truncated, where the decoder of a pipeline fills up with grey
        except (OSError, ValueError, SyntaxError) as error:
            raise RefusedImage(f'an image that cannot be decoded: {error}') from error
        # A pipeline begins with its own loader, which may be of any kind and reads a file.
        with NamedTemporaryFile(suffix=FORMATS[kind]) as file:
            file.write(content)
            file.flush()
            try:
                item, _ = self._reader(Path(file.name))
            except Exception as error:  # a loader or transform of another package may raise anything
                reason = str(error).replace(file.name, 'the image')
                raise RefusedImage(f'an image that cannot be prepared: {reason}') from error
        inputs = item['inputs']
        if self._resizes and inputs.shape[-2:] != self.size:
            resized = F.interpolate(inputs[None].float(), self.size, mode='bilinear', antialias=True)[0]
            inputs = resized.round().clamp(0, 255).to(inputs.dtype)
        if self._segments:
            height, width = item['data_samples'].metainfo['ori_shape'][:2]
            return Photograph(inputs, (height, width))
        if inputs.shape[-2:] != self.size:
            raise RefusedImage(
                f'the test pipeline makes an image of {inputs.shape[-2]} x {inputs.shape[-1]} px of it, the network '
                f'takes {self.size[0]} x {self.size[1]}: the config needs a Resize and a CenterCrop'
            )
        return inputs
