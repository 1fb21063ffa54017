"""Predict the classes of images: python tools/predict.py CONFIG PROMPT_FILE IMAGE_OR_FOLDER [...] --out-dir DIR"""

import argparse
from pathlib import Path

import vptx
from vptx.cli import NET_HELP, read_config
from vptx.predict import contact_sheet, find_images, predict, write_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='a config file')
    parser.add_argument('--net', help=NET_HELP)
    parser.add_argument('prompt_file', help="a prompt file (.safetensors), or a run's .pth")
    parser.add_argument('images', nargs='+', help='image files, or folders of them')
    parser.add_argument('--out-dir', type=Path, default=Path('predictions'), help='for predictions.csv and .png')
    parser.add_argument('--device', default='cpu', help='such as cuda:0')
    parser.add_argument('--batch-size', type=int, default=32)
    args = parser.parse_args()
    paths = find_images(args.images)
    model = vptx.init_model(read_config(args.config, args.net), args.prompt_file, args.device)
    predictions = predict(model, paths, args.batch_size)
    width = max(len(str(p.path)) for p in predictions)
    for p in predictions:
        print(f'{p.path!s:{width}}  {p.score:6.1%}  {p.name}')
    write_table(predictions, args.out_dir / 'predictions.csv')
    contact_sheet(predictions, args.out_dir / 'predictions.png')
    print(f'wrote {args.out_dir / "predictions.csv"} and {args.out_dir / "predictions.png"}')


if __name__ == '__main__':
    main()
