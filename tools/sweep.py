"""The command ``vptx sweep``: python tools/sweep.py --help"""

from vptx_cli import main

if __name__ == '__main__':
    main('sweep')
