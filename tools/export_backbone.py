"""The command ``vptx export-backbone``: python tools/export_backbone.py --help"""

from vptx_cli import main

if __name__ == '__main__':
    main('export-backbone')
