"""The table's own strategies, a module a layer: its default and the others that calibration must know."""
