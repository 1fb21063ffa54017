"""Predict the classes of images, or of their pixels:

vptx predict CONFIG PROMPT_FILE IMAGE_OR_FOLDER [...] --out-dir DIR

A classifier writes predictions.csv and predictions.png, the first images. A segmentor writes, for each image, an
overlay with a legend and the map of labels. Images are read and prepared as in the test of CONFIG. Repeat the
--cfg-options of the run. A file that cannot be read is noted in the table, and the tool
ends with status 1.

With --show-prompt, a prompt made of pixels is drawn into prompt.png: the learnt pixels, images without and with them,
and the label mapping, if there is one. Of images with more than three channels, --bands 4 3 2 draws the fourth as red,
the third as green and the second as blue.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from vptx_cli.arguments import add_config_arguments, at_least_1

if TYPE_CHECKING:
    from torch import nn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_arguments(parser)
    parser.add_argument('prompt_file', help="a prompt file (.safetensors), or a run's .pth")
    parser.add_argument('images', nargs='+', help='image files, or folders of them')
    parser.add_argument('--out-dir', type=Path, default=Path('predictions'), help='for what is written')
    parser.add_argument('--device', default='cpu', help='such as cuda:0')
    parser.add_argument('--batch-size', type=at_least_1, help="of a classifier; by default that of the config's test")
    parser.add_argument(
        '--bands', nargs='+', type=int, metavar='BAND', help='the channels to draw as red, green and blue, from 1'
    )
    parser.add_argument('--scores', action='store_true', help='write the scores of all classes into the table')
    parser.add_argument('--show-prompt', action='store_true', help='draw learnt pixels and prompted images, too')


def run(args: argparse.Namespace) -> None:
    from vptx.image_files import shown

    try:
        predict(args)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(shown(str(error))) from error


def predict(args: argparse.Namespace) -> None:
    import vptx
    from vptx.analysis.prompt_picture import check_pixels, draw_prompt, seen_by
    from vptx.configs import read_config
    from vptx.predict import find_images

    paths = find_images(args.images)
    config = read_config(args.config, args.net)
    config.merge_from_dict(args.cfg_options)
    model = vptx.init_model(config, args.prompt_file, args.device)
    if args.show_prompt:
        try:
            check_pixels(model)
        except ValueError as error:
            raise ValueError(f'--show-prompt: {error}') from error
    unread, captions = 0, list[str]()
    with seen_by(model) as images:
        if hasattr(model, 'decode_head'):
            segment(model, paths, args)
        else:
            unread, captions = classify(model, paths, args)
    if args.show_prompt and images:
        draw_prompt(model, images, captions, args.bands).savefig(args.out_dir / 'prompt.png', dpi=160)
        print(f'wrote {args.out_dir / "prompt.png"}')
    if unread:
        table = args.out_dir / 'predictions.csv'
        raise SystemExit(f"{unread} of {len(paths)} images could not be read: {table} says why, in the column 'error'")


def segment(model: 'nn.Module', paths: list[Path], args: argparse.Namespace) -> None:
    from vptx.image_files import shown
    from vptx.segmentation import write_predictions  # mmsegmentation is an extra

    for path, shares in write_predictions(model, paths, args.out_dir, args.bands):
        print(f'{shown(path)}  {", ".join(f"{name} {share:.0%}" for name, share in list(shares.items())[:5])}')
    print(f'wrote {len(paths)} overlays and label maps to {args.out_dir}')


def classify(model: 'nn.Module', paths: list[Path], args: argparse.Namespace) -> tuple[int, list[str]]:
    """How many images could not be read, and what it says of the first others, as captions."""
    from vptx.analysis.prompt_picture import SHOWN as CAPTIONS
    from vptx.image_files import shown
    from vptx.predict import SHOWN, Table, contact_sheet, predict

    width = max(len(shown(path)) for path in paths)
    classes = model.dataset_meta.get('classes') or True
    unread, first = 0, []
    with Table(args.out_dir / 'predictions.csv', classes if args.scores else None) as table:
        for p in predict(model, paths, args.batch_size, pictures=SHOWN, bands=args.bands):
            table.write(p)
            unread += bool(p.error)
            print(f'{shown(p.path):{width}}  {p.error or f"{p.score:6.1%}  {p.name}"}')
            if p.picture is not None:
                first.append(p)
    print(f'wrote {table.path}')
    if first:
        contact_sheet(first, args.out_dir / 'predictions.png')
        print(f'wrote {args.out_dir / "predictions.png"}')
    return unread, [f'{p.name}  {p.score:.0%}' for p in first[:CAPTIONS]]
