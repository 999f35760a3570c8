"""The command line: thin, lazy; every verb says in one line what it does."""
