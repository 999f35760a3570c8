"""How important is each layer? One small file a method, each a registered component."""
