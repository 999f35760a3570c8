"""Policies, which turn rankings into the layers of an arm; each is a registered component."""
