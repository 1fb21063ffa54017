"""All families of networks. The registry imports this module when a net is first looked for (``vptx.registry.NETS``).

The libraries of these families are imported with it. ``import vptx`` does not wait for them.
"""

from . import (  # noqa: F401  they register themselves
    hugging_face_beit,
    hugging_face_swin,
    hugging_face_vit,
    openmmlab_backbone,
    openmmlab_positions,
    openmmlab_swin,
    openmmlab_vit,
    timm_beit,
    timm_cait,
    timm_classifier,
    timm_eva,
    timm_naflex,
    timm_sam,
    timm_swin,
    timm_vit,
    torchvision_classifier,
    torchvision_swin,
    torchvision_vit,
)
