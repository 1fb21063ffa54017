"""The command ``vptx continual``: python tools/continual.py --help"""

from vptx_cli import main

if __name__ == '__main__':
    main('continual')
