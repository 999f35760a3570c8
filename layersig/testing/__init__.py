"""What authors of plugins test with: a tiny study in a folder, and the rules that scorers and tuning methods must keep.

from layersig.testing import check_method, check_scorer

def test_my_scorer_keeps_the_rules():
    check_scorer(MyScorer, {"batches": 2})

def test_my_method_keeps_the_rules():
    check_method(MyMethod, {"width": 4})
"""

from layersig.testing.methods import check_method
from layersig.testing.scorers import check_scorer
from layersig.testing.study import TinyStudy

__all__ = ["TinyStudy", "check_method", "check_scorer"]
