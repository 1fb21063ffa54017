"""The command ``vptx export-pixels``: python tools/export_pixels.py --help"""

from vptx_cli import main

if __name__ == '__main__':
    main('export-pixels')
