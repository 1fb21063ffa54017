"""A linear probe on CoOp's data sets with 16 images of each class, the image tower of CLIP's ViT-B/16.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021,
        https://arxiv.org/abs/2103.00020; data as in Zhou et al., IJCV 2022, https://arxiv.org/abs/2109.01134. The probe
        is trained as that of Jia et al. 2022. It reads the class token before the projection to the captions' space.
Paper:  none for these data.
vptx:   not run yet. The learning rate below is one of the grid; tools/experiment.py selects it.
Cost:   36,143 trained parameters, the head; a prompt file of 0.14 MB. Time not measured.

    python tools/train.py configs/clip/vitb16_clip_linear.py
    python tools/experiment.py configs/clip/vitb16_clip_linear.py --tasks coop_dtd
"""

_base_ = [
    '../_base_/nets/vit_b16_clip.py',
    '../_base_/prompters/linear.py',
    '../_base_/tasks/coop.py',
    '../_base_/protocols/vpt_sgd.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=47))
optim_wrapper = dict(optimizer=dict(lr=1.0 * 32 / 256))
auto_scale_lr = dict(base_batch_size=32)
