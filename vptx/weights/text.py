"""Weights of CLIP text towers, in the names of open_clip's ``TextTransformer``, whatever file they come from.

open_clip's ``CLIP`` and OpenAI's state dicts have the text tower's names next to ``visual.``; ``CustomTextCLIP`` has
them below ``text.``. All of them have the ``logit_scale`` of the two towers, and some a ``logit_bias``.
"""

from collections.abc import Mapping
from pathlib import Path

from mmengine.logging import print_log
from torch import Tensor, nn

from vptx.tensors import check_numbers
from vptx.weights.read import read_tensors

__all__ = ['fetch_hub', 'load_text', 'text_tensors']

#: What open_clip calls its safetensors files on the hub.
HUB_FILE = 'open_clip_model.safetensors'
#: First components of the names of a text tower.
PARTS = ('token_embedding', 'positional_embedding', 'transformer', 'ln_final', 'text_projection', 'cls_emb')
SCALES = ('logit_scale', 'logit_bias')


def text_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of a text tower and its scales, by the names of ``TextTransformer``; the others are left out."""
    bare = {name.removeprefix('module.'): tensor for name, tensor in tensors.items()}
    inside = {name.removeprefix('text.'): tensor for name, tensor in bare.items() if name.startswith('text.')}
    inside |= {name: bare[name] for name in SCALES if name in bare}
    found = inside if any(name.partition('.')[0] in PARTS for name in inside) else bare
    return {name: tensor for name, tensor in found.items() if name.partition('.')[0] in (*PARTS, *SCALES)}


def load_text(model: nn.Module, source: str | Path) -> dict[str, Tensor]:
    """Fill ``model``, a ``TextTransformer``, from a file.

    Args:
        model: the text tower.
        source: a ``.safetensors`` or PyTorch file; no code that it carries is run.

    Returns:
        Its ``logit_scale``, and ``logit_bias`` if it has one.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: an unreadable file, one without a text tower, or one of another architecture.
    """
    found = text_tensors(read_tensors(source))
    own = model.state_dict()
    if not own.keys() & found.keys():
        raise ValueError(
            f"{source} holds no text tower: expected the names of open_clip's or OpenAI's CLIP, such as "
            'token_embedding.weight. A file of the image tower alone has none'
        )
    faults = [f'lacks {name}' for name in own if name not in found]
    faults += [f'has {name}, for which there is no place' for name in found if name not in own and name not in SCALES]
    faults += [
        f'has {name} of shape {tuple(found[name].shape)} instead of {tuple(own[name].shape)}'
        for name in own
        if name in found and found[name].shape != own[name].shape
    ]
    if faults:
        more = f'; and {len(faults) - 4} more' if len(faults) > 4 else ''
        raise ValueError(f'{source} does not fit this text tower: it {"; ".join(faults[:4])}{more}')
    filled = {name: found[name] for name in own}
    scales = {name: found[name].reshape(()) for name in SCALES if name in found and found[name].numel() == 1}
    check_numbers({**filled, **scales}, {**own, **{name: scales[name].float() for name in scales}}, source)
    model.load_state_dict(filled)
    print_log(f'{source}: filled the text tower, {len(filled)} tensors', 'current')
    return scales


def fetch_hub(place: str) -> Path:
    """The safetensors file of an open_clip model on the Hugging Face hub; a cached one asks for no network.

    Args:
        place: ``'owner/repository/'``, or with the name of the file, as open_clip writes it.

    Raises:
        FileNotFoundError: neither in the cache nor to be downloaded.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache  # not on `import vptx`

    *owner, name = place.split('/')
    repository, name = '/'.join(owner), f'{Path(name).stem}.safetensors' if name else HUB_FILE
    cached = try_to_load_from_cache(repository, name)
    if isinstance(cached, str):
        return Path(cached)
    try:
        return Path(hf_hub_download(repository, name))
    except OSError as error:
        raise FileNotFoundError(
            f'{name} of https://huggingface.co/{repository} is neither in the cache (HF_HOME) nor to be '
            'downloaded. Run this once where there is a network, or fetch the file elsewhere and give its path as '
            f'pretrained. ({type(error).__name__}: {error})'
        ) from error
