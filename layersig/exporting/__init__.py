"""From a finished run to what people use elsewhere: configurations of training tools, adapters, checkpoints, a card."""

TOOLS = ("names", "peft", "trl", "axolotl", "llamafactory", "unsloth", "torchtune")
"""What the chosen layers can be written for; `formats.WRITERS` writes them."""
