"""Predict the classes of images, or of their pixels:

vptx predict CONFIG PROMPT_FILE IMAGE_OR_FOLDER [...] --out-dir DIR

A classifier writes predictions.csv and predictions.png, the first images. A segmentor writes, for each image, an
overlay with a legend and the map of labels. Images are read and prepared as in the test of CONFIG. Repeat the
--cfg-options of the run. A file that cannot be read is noted in the table, and the tool
ends with status 1.

With --classes, a model with a text head reads other class names, without training. PROMPT_FILE may be the word none,
for a model in which nothing trains, such as a zero-shot CLIP:

vptx predict CONFIG none IMAGES --classes "a cat" "an owl"

With --tpt, the words of a text head are tuned for each image, on random views of it, without labels (TPT).

With --show-prompt, a prompt made of pixels is drawn into prompt.png: the learnt pixels, images without and with them,
and the label mapping, if there is one. Of images with more than three channels, --bands 4 3 2 draws the fourth as red,
the third as green and the second as blue. Of learnt words, the nearest words of the vocabulary are printed, and written
to prompt_words.csv.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from vptx_cli.arguments import add_config_arguments, at_least_1
from vptx_cli.bar import bar

if TYPE_CHECKING:
    from torch import nn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_arguments(parser)
    parser.add_argument('prompt_file', help="a prompt file (.safetensors), hf://user/name, a run's .pth, or none")
    parser.add_argument('images', nargs='+', help='image files, or folders of them')
    parser.add_argument('--out-dir', type=Path, default=Path('predictions'), help='for what is written')
    parser.add_argument('--device', default='cpu', help='such as cuda:0')
    parser.add_argument('--batch-size', type=at_least_1, help="of a classifier; by default that of the config's test")
    parser.add_argument(
        '--bands', nargs='+', type=int, metavar='BAND', help='the channels to draw as red, green and blue, from 1'
    )
    parser.add_argument('--scores', action='store_true', help='write the scores of all classes into the table')
    parser.add_argument('--classes', nargs='+', metavar='NAME', help='other class names, for a model with a text head')
    parser.add_argument('--tpt', action='store_true', help='tune the words of a text head for each image (TPT)')
    parser.add_argument('--quiet', action='store_true', help='print what could not be read and what was written')
    parser.add_argument(
        '--show-prompt', action='store_true', help='draw learnt pixels, print what learnt words are near'
    )


def run(args: argparse.Namespace) -> None:
    from vptx.image_files import shown

    try:
        predict(args)
    except (FileNotFoundError, ImportError, ValueError) as error:
        raise SystemExit(shown(str(error))) from error


def predict(args: argparse.Namespace) -> None:
    import vptx
    from vptx.analysis.prompt_picture import draw_prompt, seen_by
    from vptx.configs import read_config
    from vptx.predict import find_images

    paths = find_images(args.images)
    config = read_config(args.config, args.net)
    config.merge_from_dict(args.cfg_options)
    model = vptx.init_model(config, None if args.prompt_file == 'none' else args.prompt_file, args.device)
    if args.prompt_file == 'none' and not args.tpt:  # TPT begins with words that are given
        check_untrained(model)
    if args.classes:
        vptx.set_classes(model, args.classes)
    check_named(model)
    draws = args.show_prompt and show_words(model, args.out_dir)
    if draws and args.tpt:
        raise ValueError('--show-prompt draws the images of one plain forward each: leave --tpt out')
    unread, captions = 0, list[str]()
    with seen_by(model) as images:
        if hasattr(model, 'decode_head'):
            if args.tpt:
                raise ValueError('--tpt is for classifiers, and this is a segmentor: leave it out')
            segment(model, paths, args)
        else:
            unread, captions = classify(tuned(model) if args.tpt else model, paths, args)
    if draws and images:
        draw_prompt(model, images, captions, args.bands).savefig(args.out_dir / 'prompt.png', dpi=160)
        print(f'wrote {args.out_dir / "prompt.png"}')
    if unread:
        table = args.out_dir / 'predictions.csv'
        raise SystemExit(f"{unread} of {len(paths)} images could not be read: {table} says why, in the column 'error'")


def check_untrained(model: 'nn.Module') -> None:
    """Refuse to predict by what no training has filled.

    Raises:
        ValueError: names some of it.
    """
    from vptx.attach import find_prompted_network
    from vptx.trainable import trained_names

    names, network = trained_names(model), find_prompted_network(model)
    if network is not None and not getattr(network.mapping, 'ready', True):
        names.append(f'the {type(network.mapping).__name__}')
    if names:
        raise ValueError(
            f'without a prompt file {", ".join(names[:3])} would be as they were drawn: give the file of a run. None '
            'is for models in which nothing trains, such as a text head without a prompter'
        )


def check_named(model: 'nn.Module') -> None:
    """Refuse to predict by a text head without class names.

    Raises:
        ValueError: says what to give.
    """
    from vptx.attach import find_mapping, find_prompted_network

    if find_prompted_network(model) is not None and find_mapping(model).awaits_classes:
        raise ValueError('neither the config nor the prompt file names classes for the text head: give --classes')


def show_words(model: 'nn.Module', out_dir: Path) -> bool:
    """Print and write what the learnt words are near to, if there are any; whether there are pixels to draw, too.

    Raises:
        ValueError: neither words nor pixels.
    """
    from vptx.analysis.prompt_picture import check_pixels
    from vptx.analysis.prompt_words import near_words, words_table, write_words

    try:
        check_pixels(model)
        pixels = ''
    except ValueError as error:
        pixels = str(error)
    try:
        lines = near_words(model)
    except ValueError as error:
        if pixels:
            raise ValueError(f'--show-prompt: {pixels}; {error}') from error
    else:
        print(words_table(lines))
        write_words(lines, out_dir / 'prompt_words.csv')
        print(f'wrote {out_dir / "prompt_words.csv"}')
    return not pixels


def tuned(model: 'nn.Module') -> 'nn.Module':
    """The model as one that tunes its words for each image."""
    from copy import deepcopy
    from typing import Any

    from vptx.datasets.pipeline import set_test_pipeline, test_pipeline
    from vptx.datasets.random_views import with_views
    from vptx.tpt import TPTModel

    tuning: Any = TPTModel(model)
    _ = tuning.network  # or an error, before any image is read
    tuning.cfg, tuning.dataset_meta = deepcopy(model.cfg), model.dataset_meta
    set_test_pipeline(tuning.cfg, with_views(test_pipeline(model.cfg)))
    return tuning


def segment(model: 'nn.Module', paths: list[Path], args: argparse.Namespace) -> None:
    from vptx.image_files import shown
    from vptx.segmentation import write_predictions  # mmsegmentation is an extra

    written = write_predictions(model, paths, args.out_dir, args.bands)
    for path, shares in bar(written, len(paths), 'images', args.quiet):
        if args.quiet:
            continue
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
        found = predict(model, paths, args.batch_size, pictures=SHOWN, bands=args.bands)
        for p in bar(found, len(paths), 'images', args.quiet):
            table.write(p)
            unread += bool(p.error)
            if p.error or not args.quiet:
                print(f'{shown(p.path):{width}}  {p.error or f"{p.score:6.1%}  {p.name}"}')
            if p.picture is not None:
                first.append(p)
    print(f'wrote {table.path}')
    if first:
        contact_sheet(first, args.out_dir / 'predictions.png')
        print(f'wrote {args.out_dir / "predictions.png"}')
    return unread, [f'{p.name}  {p.score:.0%}' for p in first[:CAPTIONS]]
