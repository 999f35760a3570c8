"""From rankings to the layers that an arm trains: the policies, each a registered component."""
