"""CLIP-mini as it is shipped: towers, vocabulary and weights in a folder."""

from pathlib import Path

from vptx.files import existing, read_json, read_safetensors

from .contrastive import ContrastivePretraining

__all__ = ['load_clip_mini']

_PARTS = {'embed_dim', 'vision_cfg', 'text_cfg'}


def load_clip_mini(folder: str | Path = 'weights') -> ContrastivePretraining:
    """Build CLIP-mini and fill it from ``clip_mini.json``, ``clip_mini.safetensors`` and its vocabulary.

    Returns:
        The model in eval mode; its ``clip`` is open_clip's.

    Raises:
        ImportError: open_clip is not installed.
        FileNotFoundError: there is no such folder, or a file is missing.
        ValueError: a file is unreadable, or the weights do not fit the towers.
    """
    folder = Path(folder)
    towers = read_json(existing(folder / 'clip_mini.json'))
    if not isinstance(towers, dict) or towers.keys() != _PARTS:
        raise ValueError(
            f'{folder / "clip_mini.json"} is no description of a CLIP: expected {", ".join(sorted(_PARTS))}'
        )
    model = ContrastivePretraining(**towers, vocabulary=folder / 'clip_mini_vocabulary.txt.gz')
    file = folder / 'clip_mini.safetensors'
    tensors, _ = read_safetensors(existing(file))
    try:
        model.clip.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(
            f'{file} does not fit the towers of {folder / "clip_mini.json"}: {" ".join(str(error).split())}'
        ) from error
    return model.eval()
