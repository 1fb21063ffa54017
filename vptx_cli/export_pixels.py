"""Export learnt pixels to files that can be used without vptx:

vptx export-pixels CONFIG PROMPT_FILE border.safetensors border.png
"""

import argparse

from vptx_cli.arguments import add_config_arguments
from vptx_cli.bar import bar


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_arguments(parser)
    parser.add_argument('prompt_file', help="a prompt file (.safetensors), hf://user/name, or a run's .pth")
    parser.add_argument('out', nargs='+', help='files to write: .safetensors or .png')
    parser.add_argument('--quiet', action='store_true', help='no bar while several files are written')


def run(args: argparse.Namespace) -> None:
    import vptx
    from vptx.configs import read_config

    try:
        config = read_config(args.config, args.net)
        config.merge_from_dict(args.cfg_options)
        model = vptx.init_model(config, args.prompt_file)
        for path in bar(args.out, len(args.out), 'files', args.quiet):
            print(f'{path}: {vptx.export_pixels(model, path)}')
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(str(error)) from error
