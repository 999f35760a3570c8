from __future__ import annotations

import gc


def pytest_collection_finish() -> None:
    """Memory is freed after every stage and every loan of a model; what the libraries keep need not be searched."""
    import lm_eval.tasks  # noqa: F401
    import peft  # noqa: F401

    gc.collect()
    gc.freeze()
