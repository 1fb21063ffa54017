"""vptx: adapt frozen vision backbones with prompts.

model = vptx.attach(timm.create_model('vit_base_patch16_224'), dict(type='DeepPrompter', num_tokens=50), tune=['head'])
"""

from typing import TYPE_CHECKING, Any

# isort: split
from vptx import late  # noqa: F401  before others import MMEngine's runner

# isort: split
from vptx import openmmlab  # noqa: F401  closes gaps of MMEngine, before others import OpenMMLab's packages

# isort: split
from vptx import hooks, metrics, optim, tpt  # noqa: F401  they register themselves
from vptx.apis import init_model, set_classes
from vptx.attach import attach, detach, fold, merge, unmerge
from vptx.export import export_model
from vptx.hooks import estimate_mapping, fill_cache
from vptx.pixel_file import export_pixels
from vptx.prompt_file import load_prompt, save_prompt
from vptx.trainable import print_trainable_parameters

if TYPE_CHECKING:
    from vptx.publish import push_to_hub

__version__ = '0.1.0'
__all__ = [
    'attach',
    'detach',
    'estimate_mapping',
    'export_model',
    'export_pixels',
    'fill_cache',
    'fold',
    'init_model',
    'load_prompt',
    'merge',
    'print_trainable_parameters',
    'push_to_hub',
    'save_prompt',
    'set_classes',
    'unmerge',
]


def __getattr__(name: str) -> Any:
    if name == 'push_to_hub':  # what writes model cards and talks to a hub takes a third of a second to import
        from vptx.publish import push_to_hub

        return push_to_hub
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
