"""The command ``vptx cost``: python tools/cost.py --help"""

from vptx_cli import main

if __name__ == '__main__':
    main('cost')
