"""The site of the documentation: `make docs`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "layersig"
copyright = "the authors of layersig, Apache-2.0"
extensions = ["myst_parser", "reference"]
html_theme = "furo"
html_title = "layersig"
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
myst_fence_as_directive = []
