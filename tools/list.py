"""Print all prompters and networks, and which are compatible: python tools/list.py

With --timm, how many models of timm have which doors instead: each is built without numbers, in some minutes.
"""

import argparse

from vptx.analysis.support import markdown, timm_markdown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--timm', action='store_true', help='count the models of timm by class and door')
    print(timm_markdown() if parser.parse_args().timm else markdown())


if __name__ == '__main__':
    main()
