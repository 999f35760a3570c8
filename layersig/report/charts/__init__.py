"""The drawings of a report, one kind a module: rows of `analysis.json` in, an altair chart out."""
