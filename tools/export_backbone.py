"""Export the backbone of a training run as a small weight file:

python tools/export_backbone.py work_dirs/vit_mini_sup/epoch_3.pth weights/vit_mini_sup.safetensors
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import save

from vptx.files import write_whole
from vptx.weights import read_tensors

PREFIX = 'backbone.net.model.'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', type=Path, help="a run's .pth")
    parser.add_argument('out', type=Path, help='a .safetensors file, in 16-bit numbers')
    args = parser.parse_args()
    tensors = {
        name.removeprefix(PREFIX): tensor.to(torch.float16).contiguous()
        for name, tensor in read_tensors(args.checkpoint).items()
        if name.startswith(PREFIX)
    }
    if not tensors:
        raise SystemExit(f'{args.checkpoint} holds no tensor whose name begins with {PREFIX}')
    write_whole(args.out, save(tensors))
    print(f'{args.out}: {len(tensors)} tensors, {args.out.stat().st_size / 2**20:.1f} MB')


if __name__ == '__main__':
    main()
