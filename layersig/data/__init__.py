"""Data: raw rows to conversations, the split, tokens with target masks, batches, overlap with benchmarks."""
