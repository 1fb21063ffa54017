"""The command ``vptx serve``: python tools/serve.py --help"""

from vptx_cli import main

if __name__ == '__main__':
    main('serve')
