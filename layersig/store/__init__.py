"""Where results live: fingerprints, the content-addressed cache, run folders, provenance."""
