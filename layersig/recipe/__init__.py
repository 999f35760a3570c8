"""The recipe: its schema, how it is read, overridden and resolved."""
