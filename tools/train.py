"""The command ``vptx train``: python tools/train.py --help"""

from vptx_cli import main

if __name__ == '__main__':
    main('train')
