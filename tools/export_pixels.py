"""Export learnt pixels to files that can be used without vptx:

python tools/export_pixels.py CONFIG PROMPT_FILE border.safetensors border.png
"""

import argparse

import vptx
from vptx.cli.arguments import add_config_arguments
from vptx.cli.configs import read_config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_arguments(parser)
    parser.add_argument('prompt_file', help="a prompt file (.safetensors), or a run's .pth")
    parser.add_argument('out', nargs='+', help='files to write: .safetensors or .png')
    args = parser.parse_args()
    config = read_config(args.config, args.net)
    config.merge_from_dict(args.cfg_options)
    model = vptx.init_model(config, args.prompt_file)
    for path in args.out:
        try:
            print(f'{path}: {vptx.export_pixels(model, path)}')
        except ValueError as error:
            raise SystemExit(str(error)) from error


if __name__ == '__main__':
    main()
