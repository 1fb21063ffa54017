"""Test a trained model: python tools/test.py configs/mini/digits_vpt_deep.py work_dirs/digits_vpt_deep/epoch_100.pth"""

import argparse
import json

from mmengine.dist import is_main_process

from vptx.cli.arguments import add_common_arguments
from vptx.cli.configs import load_config, make_runner
from vptx.files import write_whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_common_arguments(parser)
    parser.add_argument('checkpoint', help="a run's .pth, or a prompt file (.safetensors)")
    parser.add_argument('--tta', action='store_true', help="average over the views of the config's tta_pipeline")
    parser.add_argument('--out', help='write the metrics to this JSON file')
    args = parser.parse_args()
    metrics = make_runner(load_config(args)).test()
    if args.out and is_main_process():
        text = json.dumps(metrics, indent=1, default=lambda value: value.tolist())  # a confusion matrix is a tensor
        write_whole(args.out, text.encode())


if __name__ == '__main__':
    main()
