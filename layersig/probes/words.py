"""What counts as a word where words are counted."""

_SPACELESS = (
    "\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
"""Characters of scripts that are written without spaces: Chinese and Japanese."""

WORD = rf"[{_SPACELESS}]|[^\W{_SPACELESS}]+"
"""Pattern of a word: a run of letters, digits and underscores, or one Chinese or Japanese character."""
