"""The command ``vptx push``: python tools/push.py --help"""

from vptx_cli import main

if __name__ == '__main__':
    main('push')
