"""Live peers: recordings that calibration makes itself."""
