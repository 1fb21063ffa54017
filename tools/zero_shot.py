"""The command ``vptx zero-shot``: python tools/zero_shot.py --help"""

from vptx_cli import main

if __name__ == '__main__':
    main('zero-shot')
