"""lm-eval's command line with the model `layersig` registered."""

from __future__ import annotations

from lm_eval.__main__ import cli_evaluate

import layersig.evaluating.model  # noqa: F401  # registers the model

cli_evaluate()
