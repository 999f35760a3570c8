"""What breaks in what a model writes: pure functions of texts, one measure a module, no model and no tensor."""
