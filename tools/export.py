"""The command ``vptx export``: python tools/export.py --help"""

from vptx_cli import main

if __name__ == '__main__':
    main('export')
