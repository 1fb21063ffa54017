"""Upload a prompt file to the Hugging Face Hub, with a model card that is written from it:

vptx push work_dirs/digits_vpt_deep/prompt.safetensors user/digits
vptx push work_dirs/experiment/digits_vpt_deep/Digits/final/lr=1.0/seed42/prompt.safetensors user/digits \\
    --results work_dirs/experiment/results.json --command "vptx experiment mini/digits_vpt_deep"

The repository is made if it is not there. Log in before with hf auth login, or set HF_TOKEN. What is uploaded can be
used as hf://user/digits in place of a prompt file.
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('source', metavar='prompt_file', help="a prompt file (.safetensors), or a run's .pth")
    parser.add_argument('repository', help='user/name on the hub')
    parser.add_argument(
        '--results', help='for the card: JSON of vptx test --out, of a run (result.json), or of an experiment'
    )
    parser.add_argument('--command', default='', help='by which the results were measured')
    parser.add_argument('--seeds', nargs='+', type=int, default=(), help='of the runs, if the results do not have them')
    parser.add_argument('--data', default='', help='on which they were measured, if the results do not have it')
    parser.add_argument('--base-model', help='the frozen network on the hub, such as timm/vit_base_patch16_224.mae')
    parser.add_argument('--license', help='such as apache-2.0')
    parser.add_argument('--tags', nargs='+', default=(), help='more of them')
    parser.add_argument('--file', default='prompt.safetensors', help='its name in the repository')
    parser.add_argument('--revision', help='branch to commit to')
    parser.add_argument('--private', action='store_true', help='if the repository is new')
    parser.add_argument('--message', default='', help='of the commit')
    parser.add_argument(
        '--card',
        action=argparse.BooleanOptionalAction,
        help='write README.md; by default if the repository has none',
    )


def run(args: argparse.Namespace) -> None:
    import vptx

    try:
        address = vptx.push_to_hub(**vars(args))
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(str(error)) from error
    print(f'{address}')
