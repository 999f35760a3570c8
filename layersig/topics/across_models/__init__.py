"""The report on several models: rankings, sizes and the bridge between pruning and tuning in all of them."""
