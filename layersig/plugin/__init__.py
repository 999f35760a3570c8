"""How scorers, policies and sources are declared, found and identified; the built-in ones take the same way."""
