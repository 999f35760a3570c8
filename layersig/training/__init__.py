"""One loop that trains whatever requires a gradient, and the two stages that use it on LoRA factors."""
