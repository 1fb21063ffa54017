"""The command ``vptx make-mini-ade``: python tools/make_mini_ade.py --help"""

from vptx_cli import main

if __name__ == '__main__':
    main('make-mini-ade')
