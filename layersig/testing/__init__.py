"""What authors of plugins test with: the rules of every kind of plugin, and a tiny study in a folder.

from layersig.testing import check_method, check_scorer

def test_my_scorer_keeps_the_rules():
    check_scorer(MyScorer, {"batches": 2})

def test_my_method_keeps_the_rules():
    check_method(MyMethod, {"width": 4})
"""

from layersig.testing.methods import check_method
from layersig.testing.objectives import check_objective
from layersig.testing.policies import check_policy
from layersig.testing.scorers import check_scorer
from layersig.testing.sources import check_source
from layersig.testing.study import TinyStudy
from layersig.testing.topics import CheckedTopic, check_topic
from layersig.testing.trackers import check_tracker

__all__ = [
    "CheckedTopic",
    "TinyStudy",
    "check_method",
    "check_objective",
    "check_policy",
    "check_scorer",
    "check_source",
    "check_topic",
    "check_tracker",
]
