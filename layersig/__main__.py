"""`python -m layersig`."""

from __future__ import annotations

from layersig.cli.main import main

if __name__ == "__main__":
    main()
