"""vptx: adapt frozen vision backbones with prompts.

model = vptx.attach(timm.create_model('vit_base_patch16_224'), dict(type='DeepPrompter', num_tokens=50), tune=['head'])
"""

from vptx import hooks, metrics, openmmlab, optim  # noqa: F401  they register themselves, and close gaps of MMEngine
from vptx.apis import init_model
from vptx.attach import attach, detach, fold
from vptx.hooks import estimate_mapping
from vptx.pixel_file import export_pixels
from vptx.prompt_file import load_prompt, save_prompt
from vptx.trainable import print_trainable_parameters

__version__ = '0.1.0'
__all__ = [
    'attach',
    'detach',
    'estimate_mapping',
    'export_pixels',
    'fold',
    'init_model',
    'load_prompt',
    'print_trainable_parameters',
    'save_prompt',
]
