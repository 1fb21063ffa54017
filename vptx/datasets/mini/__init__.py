"""Data sets that need no download: drawn by formulas, or shipped inside other packages."""
