"""CLIP-mini: the image tower up to the joint space, (B, 160), and the text tower that a text head reads."""

_base_ = ['../nets/clip_mini.py']

tower = dict(
    width=128,
    layers=4,
    heads=2,
    context=32,
    vocab=1644,
    embed=160,
    quick_gelu=False,
    pretrained='{{ fileDirname }}/../../../weights/clip_mini.safetensors',
    bpe_path='{{ fileDirname }}/../../../weights/clip_mini_vocabulary.txt.gz',
)
# Of an ensemble: words of the captions of its pre-training.
templates = [
    'a photo of a {}.',
    'a drawing of a {}.',
    'a painting of a {}.',
    'a large {}.',
    'a small {}.',
    'one {} in the middle.',
]
# The weights of the network's own classifier are CLIP's projection.
model = dict(backbone=dict(net=dict(num_classes=160), readout='logits'), head=dict(_delete_=True, type='ClsHead'))
