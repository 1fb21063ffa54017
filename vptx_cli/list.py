"""Print all prompters and networks, and which are compatible:

vptx list
vptx list --timm        # how many models of timm have which doors; each is built without numbers, in some minutes
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--timm', action='store_true', help='count the models of timm by class and door')


def run(args: argparse.Namespace) -> None:
    from vptx.analysis.support import markdown, timm_markdown

    print(timm_markdown() if args.timm else markdown())
