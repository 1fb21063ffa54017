"""Test a trained model:

vptx test mini/digits_vpt_deep work_dirs/digits_vpt_deep/prompt.safetensors
vptx test real/imagenet none
"""

import argparse
import json
from copy import deepcopy

from vptx_cli.arguments import add_common_arguments, read
from vptx_cli.predict import check_untrained


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_common_arguments(parser)
    parser.add_argument(
        'checkpoint',
        help="a run's .pth, a prompt file (.safetensors), hf://user/name, or none where nothing trains",
    )
    parser.add_argument('--tta', action='store_true', help="average over the views of the config's tta_pipeline")
    parser.add_argument('--tpt', action='store_true', help='tune the words of a text head for each image (TPT)')
    parser.add_argument('--out', help='write the metrics to this JSON file')


def run(args: argparse.Namespace) -> None:
    from mmengine.dist import is_main_process

    from vptx.apis import init_model
    from vptx.configs import make_runner
    from vptx.files import write_whole

    config = read(args)
    if args.checkpoint == 'none':
        try:
            check_untrained(init_model(deepcopy(config)))
        except ValueError as error:
            raise SystemExit(str(error)) from error
    metrics = make_runner(config).test()
    if args.out and is_main_process():
        text = json.dumps(metrics, indent=1, default=lambda value: value.tolist())  # a confusion matrix is a tensor
        write_whole(args.out, text.encode())
