"""Where models, data and benchmarks come from: the hub, files, and packages that carry them; all pinned and hashed."""
