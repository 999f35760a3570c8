"""Batched generation with a key-value cache: answers to prompts and chats, and training data from a model's own."""
