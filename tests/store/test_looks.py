from __future__ import annotations

import pytest

from layersig.jsonform import Damaged
from layersig.store.hashing import sha256_json
from layersig.store.looks import Looks

STUDY = {"model": "tiny", "train": {"steps": 4}}


def test_what_came_before_a_first_look_stays_what_it_was(tmp_path):
    looks = Looks(tmp_path, sha256_json(STUDY))
    assert looks.before([0, 1, 2]) == ()
    looks.put([0, 1, 2])
    assert looks.before([0, 1, 2]) == ()
    assert looks.before([0, 1, 2, 3, 4]) == ((0, 1, 2),)
    looks.put([4, 3, 2, 1, 0])
    assert looks.before([0, 1, 2]) == ()
    assert looks.before([2, 1, 0, 3, 4]) == ((0, 1, 2),)
    assert looks.before([7]) == ((0, 1, 2), (0, 1, 2, 3, 4))
    looks.put([0, 1, 2])
    assert Looks(tmp_path, sha256_json(STUDY)).before([7]) == ((0, 1, 2), (0, 1, 2, 3, 4))


def test_another_study_has_looks_of_its_own(tmp_path):
    Looks(tmp_path, sha256_json(STUDY)).put([0])
    assert Looks(tmp_path, sha256_json({**STUDY, "model": "other"})).before([0, 1]) == ()
    assert Looks(tmp_path / "elsewhere", sha256_json(STUDY)).before([0, 1]) == ()


def test_a_record_that_cannot_be_read_is_no_clean_record(tmp_path):
    looks = Looks(tmp_path, sha256_json(STUDY))
    looks.put([0])
    (path,) = (tmp_path / "looks").glob("*.json")
    path.write_text("{")
    with pytest.raises(Damaged):
        looks.before([0, 1])
