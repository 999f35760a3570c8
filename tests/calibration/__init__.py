"""Simulated studies of how often ``layersig.analysis`` errs: ``python -m tests.calibration``."""
