"""Export the backbone of a pre-training run as a small weight file, in the public format of its objective:

vptx export-backbone work_dirs/vit_mini_sup/epoch_5.pth weights/vit_mini_sup          # .npz, Google's
vptx export-backbone work_dirs/vit_mini_mae/epoch_5.pth weights/vit_mini_mae          # .pth, MAE's
vptx export-backbone work_dirs/vit_mini_mocov3/epoch_5.pth weights/vit_mini_mocov3    # .pth.tar, MoCo v3's
vptx export-backbone work_dirs/clip_mini/iter_1000.pth weights/clip_mini    # .safetensors, open_clip's
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('checkpoint', type=Path, help="a run's .pth")
    parser.add_argument('out', type=Path, help="where to write to, without the extension, which is the format's")


def run(args: argparse.Namespace) -> None:
    from vptx.weights.export import export_backbone

    try:
        path = export_backbone(args.checkpoint, args.out)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(str(error)) from error
    print(f'{path}: {path.stat().st_size / 2**20:.1f} MB')
