"""The paper's own numbers, to compare with those of vptx where the task is the same.

Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119: test accuracy in per cent, mean of five
seeds. Tasks: tables 13 and 14, ViT-B/16 supervised on ImageNet-21k. Groups: table 1; table 2 of Swin-B, table 5 of the
convnets, table 9 of VPT and biases. Adapters stand with their groups alone.
"""

from statistics import mean

__all__ = ['PAPER', 'PAPER_GROUPS']

_TASKS = (
    *('cifar', 'caltech101', 'dtd', 'oxford_flowers102', 'oxford_iiit_pet', 'svhn', 'sun397'),
    *('patch_camelyon', 'eurosat', 'resisc45', 'diabetic_retinopathy'),
    *('clevr_count', 'clevr_dist', 'dmlab', 'kitti', 'dsprites_loc', 'dsprites_ori', 'smallnorb_azi', 'smallnorb_ele'),
)
_FGVC = ('CUB', 'nabirds', 'OxfordFlowers', 'StanfordDogs', 'StanfordCars')
_GROUPS = ('Natural', 'Specialized', 'Structured')


def _row(vtab: str, fgvc: str) -> dict[str, float]:
    return dict(zip((*_TASKS, *_FGVC), map(float, f'{vtab} {fgvc}'.split()), strict=True))


#: Name of our config -> task -> test accuracy.
PAPER = {
    'vitb16_in21k_full': _row(
        '68.9 87.7 64.3 97.2 86.9 87.4 38.8  79.7 95.7 84.2 73.9  56.3 58.6 41.7 65.5 57.5 46.7 25.7 29.1',
        '87.3 82.7 98.8 89.4 84.5',
    ),
    'vitb16_in21k_linear': _row(
        '63.4 85.0 63.2 97.0 86.3 36.6 51.0  78.5 87.5 68.6 74.0  34.3 30.6 33.2 55.4 12.5 20.0 9.6 19.2',
        '85.3 75.9 97.9 86.2 51.3',
    ),
    'vitb16_in21k_bias': _row(
        '72.8 87.0 59.2 97.5 85.3 59.9 51.4  78.7 91.6 72.9 69.8  61.5 55.6 32.4 55.9 66.6 40.0 15.7 25.1',
        '88.4 84.2 98.8 91.2 79.4',
    ),
    'vitb16_in21k_vpt_shallow': _row(
        '77.7 86.9 62.6 97.5 87.3 74.5 51.2  78.2 92.0 75.6 72.9  50.5 58.6 40.5 67.1 68.7 36.1 20.2 34.1',
        '86.7 78.8 98.4 90.7 68.7',
    ),
    'vitb16_in21k_vpt_deep': _row(
        '78.8 90.8 65.8 98.0 88.3 78.1 49.6  81.8 96.1 83.4 68.4  68.5 60.0 46.5 72.8 73.6 47.9 32.9 37.8',
        '88.5 84.2 99.0 90.2 83.6',
    ),
    'vitb16_in21k_partial_1': _row(
        '66.8 85.9 62.5 97.3 85.5 37.6 50.6  78.6 89.8 72.5 73.3  41.5 34.3 33.9 61.0 31.3 32.8 16.3 22.4',
        '85.6 77.8 98.2 85.5 66.2',
    ),
    'vitb16_in21k_mlp_3': _row(
        '63.8 84.7 62.3 97.4 84.7 32.5 49.2  77.0 88.0 70.2 56.1  47.8 32.8 32.3 58.1 12.9 21.2 15.2 24.8',
        '85.1 77.3 97.9 84.9 53.8',
    ),
    'vitb16_in21k_side': _row(
        '60.7 60.8 53.6 95.5 66.7 34.9 35.3  58.5 87.7 65.2 61.0  27.6 22.6 31.3 51.7 8.2 14.4 9.8 21.8',
        '84.7 75.8 96.9 85.8 48.6',
    ),
}


def _groups(vtab: str, fgvc: str = '') -> dict[str, dict[str, float]]:
    reached = dict(zip(_GROUPS, map(float, vtab.split()), strict=True))
    reached['mean of groups'] = mean(reached.values())
    return {'vtab': reached, 'fgvc': {'FGVC': float(fgvc)} if fgvc else {}}


_BY_GROUP = {
    'vitb16_in21k_full': _groups('75.88 83.36 47.64', '88.54'),
    'vitb16_in21k_linear': _groups('68.93 77.16 26.84', '79.32'),
    'vitb16_in21k_partial_1': _groups('69.44 78.53 34.17', '82.63'),
    'vitb16_in21k_mlp_3': _groups('67.80 72.83 30.62', '79.80'),
    'vitb16_in21k_side': _groups('58.21 68.12 23.41', '78.35'),
    'vitb16_in21k_bias': _groups('73.30 78.25 44.09', '88.41'),
    'vitb16_in21k_adapter': _groups('70.39 77.11 33.43', '85.66'),
    'vitb16_in21k_vpt_shallow': _groups('76.81 79.66 46.98', '84.62'),
    'vitb16_in21k_vpt_deep': _groups('78.48 82.43 54.98', '89.11'),
    'vitb16_in21k_vpt_bias': _groups('77.64 82.22 53.87'),
    'swinb_in22k_vpt_shallow': _groups('79.85 82.45 37.75'),
    'swinb_in22k_vpt_deep': _groups('76.78 84.53 53.35'),
    'convnextb_in22k_pad': _groups('78.48 83.00 44.64'),
    'resnet50_in1k_pad': _groups('66.25 77.32 37.52'),
}
#: (name of our config, suite) -> group -> mean test accuracy, of numbers that were not rounded.
PAPER_GROUPS = {(name, suite): means for name, suites in _BY_GROUP.items() for suite, means in suites.items()}
