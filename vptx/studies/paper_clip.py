"""Published numbers of prompt learning on CLIP, to compare with those of vptx: accuracies in per cent, of three seeds.

Base to new, ViT-B/16, 16 shots: CLIP, CoOp and CoCoOp from Zhou et al., CVPR 2022, https://arxiv.org/abs/2203.05557,
MaPLe from Khattak et al., CVPR 2023, https://arxiv.org/abs/2210.03117, PromptSRC from Khattak et al., ICCV 2023,
https://arxiv.org/abs/2307.06948, KgCoOp from Yao et al., CVPR 2023, https://arxiv.org/abs/2303.13283; VPT and IVLP from
the READMEs of MaPLe and PromptSRC. H of a mean is that of the mean base and the mean new accuracy. Others publish other
numbers of the same method: CoOp has 82.63 / 67.99 / 74.60 in KgCoOp's README.

Transfer: trained on 16 images of each of ImageNet's classes, from the same papers. Few shots, ResNet-50: Zhang et al.,
"Tip-Adapter", ECCV 2022, https://arxiv.org/abs/2111.03930, table 2 and the log in its repository, where Tip-Adapter-F
and CLIP-Adapter were chosen by their test accuracy.
"""

__all__ = ['BASE_TO_NEW', 'CITED', 'MEAN', 'OTHER_TASKS']

MEAN = 'mean'
_SETS = (
    *('imagenet', 'caltech101', 'oxford_pets', 'stanford_cars', 'oxford_flowers', 'food101', 'fgvc_aircraft'),
    *('sun397', 'dtd', 'eurosat', 'ucf101'),
)
_TASKS = tuple(f'coop_{name}' for name in _SETS)
_SHIFTED = ('imagenet_v2', 'imagenet_sketch', 'imagenet_a', 'imagenet_r')

Halves = tuple[float, float, float]


def _halves(mean: str, rows: str = '') -> dict[str, Halves]:
    """Base, new and H, of the mean over the data sets and of each of them."""
    found = [tuple(map(float, row.split('/'))) for row in (mean, *rows.split())]
    return dict(zip((MEAN, *_TASKS), found, strict=bool(rows)))  # type: ignore[arg-type]


#: Name of our config -> task, or MEAN -> base, new, H.
BASE_TO_NEW: dict[str, dict[str, Halves]] = {
    'vitb16_clip_zero_shot': _halves(
        '69.34/74.22/71.70',
        '72.43/68.14/70.22 96.84/94.00/95.40 91.17/97.26/94.12 63.37/74.89/68.65 72.08/77.80/74.83 90.10/91.22/90.66 '
        '27.19/36.29/31.09 69.36/75.35/72.23 53.24/59.90/56.37 56.48/64.05/60.03 70.53/77.50/73.85',
    ),
    'vitb16_clip_coop': _halves(
        '82.69/63.22/71.66',
        '76.47/67.88/71.92 98.00/89.81/93.73 93.67/95.29/94.47 78.12/60.40/68.13 97.60/59.67/74.06 88.33/82.26/85.19 '
        '40.44/22.30/28.75 80.60/65.89/72.51 79.44/41.18/54.24 92.19/54.74/68.69 84.69/56.05/67.46',
    ),
    'vitb16_clip_cocoop': _halves(
        '80.47/71.69/75.83',
        '75.98/70.43/73.10 97.96/93.81/95.84 95.20/97.69/96.43 70.49/73.59/72.01 94.87/71.75/81.71 90.70/91.29/90.99 '
        '33.41/23.71/27.74 79.74/76.86/78.27 77.01/56.00/64.85 87.49/60.04/71.21 82.33/73.45/77.64',
    ),
    'vitb16_clip_kgcoop': _halves('80.73/73.60/77.00'),
    'vitb16_clip_vpt_deep': _halves('80.24/73.43/76.68'),
    'vitb16_clip_ivlp': _halves('82.15/74.07/77.90'),
    'vitb16_clip_maple': _halves(
        '82.28/75.14/78.55',
        '76.66/70.54/73.47 97.74/94.36/96.02 95.43/97.76/96.58 72.94/74.00/73.47 95.92/72.46/82.56 90.71/92.05/91.38 '
        '37.44/35.61/36.50 80.82/78.70/79.75 80.36/59.18/68.16 94.07/73.23/82.35 83.00/78.66/80.77',
    ),
    'vitb16_clip_promptsrc': _halves(
        '84.26/76.10/79.97',
        '77.60/70.73/74.01 98.10/94.03/96.02 95.33/97.30/96.30 78.27/74.97/76.58 98.07/76.50/85.95 90.67/91.53/91.10 '
        '42.73/37.87/40.15 82.67/78.47/80.52 83.37/62.97/71.75 92.90/73.90/82.32 87.10/78.80/82.74',
    ),
}


def _row(tasks: tuple[str, ...], numbers: str) -> dict[str, float]:
    return dict(zip(tasks, map(float, numbers.split()), strict=True))


def _transfer(sets: str, shifted: str = '') -> dict[str, float]:
    return _row(_TASKS, sets) | (_row(_SHIFTED, shifted) if shifted else {})


_LOG = (  # in the order of Tip-Adapter's log
    *('coop_sun397', 'coop_oxford_pets', 'coop_eurosat', 'coop_caltech101', 'coop_dtd', 'coop_fgvc_aircraft'),
    *('coop_food101', 'coop_oxford_flowers', 'coop_ucf101', 'coop_stanford_cars'),
)
#: Name of our config, with its variant -> task -> test accuracy.
OTHER_TASKS: dict[str, dict[str, float]] = {
    'vitb16_clip_zero_shot_transfer': _transfer(
        '66.72 92.98 89.13 65.29 71.30 86.11 24.90 62.59 44.56 47.84 66.83', '60.83 46.15 47.77 73.96'
    ),
    'vitb16_clip_coop_transfer': _transfer(
        '71.51 93.70 89.14 64.51 68.71 85.30 18.47 64.15 41.92 46.39 66.55', '64.20 47.99 49.71 75.21'
    ),
    'vitb16_clip_cocoop_transfer': _transfer(
        '71.02 94.43 90.14 65.32 71.88 86.06 22.94 67.36 45.73 45.37 68.21', '64.07 48.75 50.63 76.18'
    ),
    'vitb16_clip_maple_transfer': _transfer(
        '70.72 93.53 90.49 65.57 72.23 86.20 24.74 67.01 46.49 48.06 68.69', '64.07 49.15 50.90 76.98'
    ),
    'vitb16_clip_promptsrc_transfer': _transfer('71.27 93.60 90.25 65.70 70.25 86.15 23.90 67.10 46.87 45.50 68.75'),
    **{
        f'resnet50_clip_coop_{shots}_shots': {'coop_imagenet': accuracy}
        for shots, accuracy in {1: 57.15, 2: 57.81, 4: 59.99, 8: 61.56, 16: 62.95}.items()
    },
    **{
        f'resnet50_clip_tip_adapter_{shots}_shots': {'coop_imagenet': accuracy}
        for shots, accuracy in {1: 60.70, 2: 60.96, 4: 60.98, 8: 61.45}.items()
    },
    'resnet50_clip_zero_shot': _row(_LOG, '58.52 85.83 37.52 85.92 42.20 17.10 77.32 66.02 61.35 55.74'),
    'resnet50_clip_tip_adapter_16_shots': {
        'coop_imagenet': 62.03,
        **_row(_LOG, '66.85 88.14 70.54 90.18 60.93 29.76 77.83 89.89 70.58 66.77'),
    },
    'resnet50_clip_tip_adapter_f_16_shots': {
        'coop_imagenet': 65.51,
        **_row(_LOG, '71.47 89.70 84.54 92.86 66.55 35.55 79.43 94.80 78.03 75.74'),
    },
    'resnet50_clip_clip_adapter_16_shots': {
        'coop_imagenet': 63.59,
        **_row(_LOG, '69.55 87.84 84.43 92.49 65.96 32.10 78.25 93.90 76.76 74.01'),
    },
}
#: Who published them, by the name of our config.
CITED = {name: 'Zhang et al.' if name.startswith('resnet50') else 'published' for name in OTHER_TASKS}
