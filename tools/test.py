"""The command ``vptx test``: python tools/test.py --help"""

from vptx_cli import main

if __name__ == '__main__':
    main('test')
