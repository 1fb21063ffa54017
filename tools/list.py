"""Print all prompters and networks, and which are compatible: python tools/list.py"""

import argparse

from vptx.analysis.support import markdown


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    print(markdown())


if __name__ == '__main__':
    main()
