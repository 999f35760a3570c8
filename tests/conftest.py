from __future__ import annotations

import gc
from contextlib import suppress


def pytest_collection_finish() -> None:
    """Memory is freed after every stage and every loan of a model; what the libraries keep need not be searched."""
    with suppress(ImportError):  # the tests of a GPU run without it
        import lm_eval.tasks  # noqa: F401
    import peft  # noqa: F401

    gc.collect()
    gc.freeze()
