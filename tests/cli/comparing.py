"""What `layersig compare` gives."""

from __future__ import annotations

import json

from tests.study import call


def comparisons(capsys, *names):
    code, out, err = call(capsys, "compare", *names, "--json")
    assert code == 0, err
    return json.loads(out.splitlines()[-1])["comparisons"], err
