"""The command ``vptx list``: python tools/list.py --help"""

from vptx_cli import main

if __name__ == '__main__':
    main('list')
