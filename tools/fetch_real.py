"""The command ``vptx fetch-real``: python tools/fetch_real.py --help"""

from vptx_cli import main

if __name__ == '__main__':
    main('fetch-real')
