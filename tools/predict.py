"""Predict the classes of images, or of their pixels:

python tools/predict.py CONFIG PROMPT_FILE IMAGE_OR_FOLDER [...] --out-dir DIR

A classifier writes predictions.csv and predictions.png. A segmentor writes, for each image, an overlay with a legend
and the map of labels. With --show-prompt, a prompt made of pixels is drawn into prompt.png: the learnt pixels, images
without and with them, and the label mapping, if there is one.
"""

import argparse
from pathlib import Path

from torch import nn

import vptx
from vptx.analysis.prompt_picture import check_pixels, draw_prompt, seen_by
from vptx.cli import NET_HELP, read_config
from vptx.predict import contact_sheet, find_images, predict, write_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='a config file')
    parser.add_argument('--net', help=NET_HELP)
    parser.add_argument('prompt_file', help="a prompt file (.safetensors), or a run's .pth")
    parser.add_argument('images', nargs='+', help='image files, or folders of them')
    parser.add_argument('--out-dir', type=Path, default=Path('predictions'), help='for what is written')
    parser.add_argument('--device', default='cpu', help='such as cuda:0')
    parser.add_argument('--batch-size', type=int, default=32)
    parser.add_argument('--show-prompt', action='store_true', help='draw learnt pixels and prompted images, too')
    args = parser.parse_args()
    paths = find_images(args.images)
    model = vptx.init_model(read_config(args.config, args.net), args.prompt_file, args.device)
    if args.show_prompt:
        try:
            check_pixels(model)
        except ValueError as error:
            raise SystemExit(f'--show-prompt: {error}') from error
    with seen_by(model) as images:
        if hasattr(model, 'decode_head'):
            captions = segment(model, paths, args.out_dir)
        else:
            captions = classify(model, paths, args.out_dir, args.batch_size)
    if args.show_prompt:
        draw_prompt(model, images, captions).savefig(args.out_dir / 'prompt.png', dpi=160)
        print(f'wrote {args.out_dir / "prompt.png"}')


def segment(model: nn.Module, paths: list[Path], out_dir: Path) -> list[str]:
    """No captions: the network may see a photograph in several pieces."""
    from vptx.segmentation import write_predictions  # mmsegmentation is an extra

    for path, shares in write_predictions(model, paths, out_dir):
        print(f'{path}  {", ".join(f"{name} {share:.0%}" for name, share in list(shares.items())[:5])}')
    print(f'wrote {len(paths)} overlays and label maps to {out_dir}')
    return []


def classify(model: nn.Module, paths: list[Path], out_dir: Path, batch_size: int) -> list[str]:
    """What it says of each image, as a caption."""
    predictions = predict(model, paths, batch_size)
    width = max(len(str(p.path)) for p in predictions)
    for p in predictions:
        print(f'{p.path!s:{width}}  {p.score:6.1%}  {p.name}')
    write_table(predictions, out_dir / 'predictions.csv')
    contact_sheet(predictions, out_dir / 'predictions.png')
    print(f'wrote {out_dir / "predictions.csv"} and {out_dir / "predictions.png"}')
    return [f'{p.name}  {p.score:.0%}' for p in predictions]


if __name__ == '__main__':
    main()
