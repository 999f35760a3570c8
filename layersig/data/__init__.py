"""Data: raw rows to conversations, splits, tokens with target masks, batches, and contamination of benchmarks."""
