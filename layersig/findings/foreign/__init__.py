"""Per-item results that layersig did not write: logs of lm-eval, and tables of anything."""
