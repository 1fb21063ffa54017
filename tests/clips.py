"""A tiny CLIP of open_clip, with both towers, the same numbers every time; and class names for it."""

from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import timm
import torch
from networks import SIZE
from open_clip.model import CLIP, CustomTextCLIP
from open_clip.tokenizer import SimpleTokenizer
from safetensors.torch import save_file
from torch import Tensor, nn

import vptx
from vptx.backbones import OpenCLIPText
from vptx.text import PromptedText

WIDTH, HEADS, DEPTH, EMBED = 32, 2, 3, 24
NAMES = ('cat', 'great horned owl', 'crane (bird)', 'x', 'missile', 'a thing of which the name is of many words')
tokenize = SimpleTokenizer()

_IMAGE = dict(image_size=SIZE, layers=2, width=32, patch_size=8, head_width=8)
_TEXT = dict(width=WIDTH, heads=HEADS, layers=DEPTH)


@cache
def _drawn(kind: type[nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = kind(EMBED, dict(_IMAGE), dict(_TEXT), quick_gelu=True).eval()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.dim() > 1 and 'embedding' not in name:
                    parameter.normal_(std=0.2)
    return model


def tiny_clip(kind: type[nn.Module] = CLIP) -> nn.Module:
    """open_clip's own; of ``CustomTextCLIP`` if asked for."""
    return deepcopy(_drawn(kind))


def custom_clip() -> nn.Module:
    return tiny_clip(CustomTextCLIP)


def reference(template: str = 'a photo of a {}.', names: Any = NAMES) -> Tensor:
    """What open_clip makes of the names (C, d), each of length 1."""
    return tiny_clip().encode_text(tokenize([template.format(name) for name in names]), normalize=True).detach()


def side(prompter: Any = None, names: Any = NAMES, seed: int = 0, **options: Any) -> PromptedText:
    """The text side with a prompter, started; its prompts are drawn from a seed."""
    text = PromptedText(OpenCLIPText(tiny_clip()), names, prompter=prompter, **options)
    torch.manual_seed(seed)
    text.start()
    return text


def image_tower() -> nn.Module:
    """timm's, with the numbers of the tiny CLIP; its logits are CLIP's embeddings."""
    sizes = dict(img_size=SIZE, patch_size=8, embed_dim=32, depth=2, num_heads=4, num_classes=EMBED)
    model = timm.create_model('vit_base_patch16_clip_quickgelu_224', dynamic_img_size=True, **sizes).eval()
    from timm.models.vision_transformer import checkpoint_filter_fn

    model.load_state_dict(checkpoint_filter_fn(tiny_clip().state_dict(), model))
    return model


def head(prompter: Any = None, names: Any = NAMES, type: str = 'TextHead', **options: Any) -> dict:
    """Config of a text head."""
    return dict(type=type, tower=OpenCLIPText(tiny_clip()), classes=list(names), prompter=prompter, **options)


def prompted(prompter: Any = None, image: Any = None, names: Any = NAMES, seed: int = 0, **options: Any) -> nn.Module:
    """The image tower with a text head, in eval mode."""
    model = image_tower()
    torch.manual_seed(seed)
    return vptx.attach(model, image, mapping=head(prompter, names, **options)).eval()


def write_towers(folder: Path) -> tuple[str, str]:
    """Files of random weights for ``changes``, of the image tower and of the text tower."""
    import runs

    image, text = folder / 'image_tower.pth', folder / 'text_tower.safetensors'
    runs.write_weights(image, num_classes=EMBED)
    torch.manual_seed(0)
    state = OpenCLIPText(width=WIDTH, heads=HEADS, layers=2, embed=EMBED).model.state_dict()
    save_file({**state, 'logit_scale': torch.tensor(1.0)}, text)
    return str(image), str(text)


def changes(
    prompter: Any = None, image: Any = None, hooks: Any = (), weights: tuple = (None, None), **options: Any
) -> dict:
    """Changes of ``runs.tiny_config`` that train prompts of a text head, on random towers, or on those of two
    files, of the image tower and of the text tower."""
    import runs

    tower = dict(width=WIDTH, heads=HEADS, layers=2, embed=EMBED, pretrained=weights[1])
    mapping = dict(type='TextHead', tower=tower, classes=list(runs.CLASSES), prompter=prompter, **options)
    return dict(
        model=dict(
            backbone=dict(net=runs.net(num_classes=EMBED, weights=weights[0])),
            head=dict(_delete_=True, type='ClsHead', loss=dict(type='CrossEntropyLoss')),
        ),
        hooks=[dict(type='PromptTuningHook', prompter=image, mapping=mapping, tune=()), *hooks],
    )
