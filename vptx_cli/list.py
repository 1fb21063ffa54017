"""Print all prompters and networks, and which are compatible:

vptx list
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None."""


def run(args: argparse.Namespace) -> None:
    from vptx.analysis.support import markdown

    print(markdown())
