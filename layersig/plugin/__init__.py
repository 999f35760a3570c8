"""How scorers, policies and sources are declared, found and identified. Built-in ones use the same mechanism."""
