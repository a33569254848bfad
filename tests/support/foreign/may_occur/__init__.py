"""The table's third column: strategies that may occur, and that calibration need not know. A module a layer."""
