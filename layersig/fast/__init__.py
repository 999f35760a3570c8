"""The optimised ways to run a model, each with a plain twin; `runner` is the door to them."""
