"""SETR-Naive on ViT-L/16: two 1 x 1 convolutions and interpolation; otherwise setr_pup_vitl.py.

As mmsegmentation's setr_vit-l_naive_8xb2-160k_ade20k-512x512.py.
"""

_base_ = ['./setr_pup_vitl.py']

aux = dict(_base_.aux, kernel_size=1)
model = dict(
    decode_head=dict(num_convs=1, up_scale=4, kernel_size=1),
    auxiliary_head=[dict(aux, in_index=0), dict(aux, in_index=1), dict(aux, in_index=2)],
)
