from __future__ import annotations

import pytest

from layersig.errors import UserError
from layersig.sources.hubfiles import files_of_split

NO_ROBOTS = ["README.md", ".gitattributes", "data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"]
ULTRACHAT = [
    f"data/{split}-0000{n}-of-00002.parquet" for split in ("train_sft", "train_gen", "test_sft") for n in (0, 1)
]


@pytest.mark.parametrize(
    ("names", "split", "card", "expected"),
    [
        (NO_ROBOTS, "train", {}, ["data/train-00000-of-00001.parquet"]),
        (NO_ROBOTS, "test", {}, ["data/test-00000-of-00001.parquet"]),
        (ULTRACHAT, "train_sft", {}, ULTRACHAT[:2]),
        (["databricks-dolly-15k.jsonl", "README.md"], "train", {}, ["databricks-dolly-15k.jsonl"]),
        (["training.jsonl", "dataset_infos.json"], "train", {}, ["training.jsonl"]),
        (["train.jsonl", "train.parquet", "test.jsonl"], "train", {}, ["train.parquet"]),
        (
            ["a.parquet", "b.parquet"],
            "sft",
            {
                "configs": [
                    {"config_name": "x", "data_files": "a.parquet"},
                    {"config_name": "default", "data_files": [{"split": "sft", "path": ["b.*"]}]},
                ]
            },
            ["b.parquet"],
        ),
    ],
)
def test_files_of_a_split(names: list[str], split: str, card: dict[str, object], expected: list[str]) -> None:
    assert files_of_split("hub:a/b", names, split, card) == expected


TWO = {
    "configs": [
        {"config_name": "main", "data_files": [{"split": "train", "path": "main/train-*"}]},
        {"config_name": "socratic", "data_files": [{"split": "train", "path": "socratic/train-*"}]},
    ]
}


def test_one_of_several_configurations_must_be_named() -> None:
    names = ["main/train-0.parquet", "socratic/train-0.parquet"]
    assert files_of_split("hub:a/b:socratic", names, "train", TWO, "socratic") == names[1:]
    with pytest.raises(UserError, match=r'several configurations: main, socratic; name one, such as "hub:a/b:main@v1"'):
        files_of_split("hub:a/b@v1", names, "train", TWO)
    with pytest.raises(UserError, match="hub:a/b:none has no configuration 'none'; it has main, socratic"):
        files_of_split("hub:a/b:none", names, "train", TWO, "none")
    with pytest.raises(UserError, match="has no configuration 'main', and its card names none"):
        files_of_split("hub:a/b:main", names, "train", {}, "main")


def of_folders(**more: object) -> dict[str, object]:
    """A card with two configurations, each the files of a folder."""
    folders = {"en": "./data/en/", "de": "data/de"}
    return {"configs": [{"config_name": name, "data_dir": folder, **more} for name, folder in folders.items()]}


def test_a_configuration_may_be_a_folder() -> None:
    names = ["data/en/train.jsonl", "data/en/test.jsonl", "data/de/rows.jsonl", "data/den/train.jsonl"]
    assert files_of_split("hub:a/b:en", names, "train", of_folders(), "en") == names[:1]
    assert files_of_split("hub:a/b:de", names, "train", of_folders(), "de") == names[2:3]
    assert files_of_split("hub:a/b:en", names, "train", of_folders(data_files="te*"), "en") == names[1:2]
    with pytest.raises(UserError, match="several configurations: en, de"):
        files_of_split("hub:a/b", names, "train", of_folders())
    with pytest.raises(UserError, match="no split 'test'; it has no files that are read"):
        files_of_split("hub:a/b:de", names, "test", of_folders(), "de")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jsonl", ["a.jsonl"]),
        ("x/*", ["x/b.jsonl"]),
        ("*/*", ["x/b.jsonl"]),
        ("**/a.jsonl", ["a.jsonl", "x/y/a.jsonl"]),
        ("x/**/*.jsonl", ["x/b.jsonl", "x/y/a.jsonl"]),
        ("x/**", ["x/b.jsonl", "x/y/a.jsonl"]),
        ("./x/[!a].jsonl", ["x/b.jsonl"]),
    ],
)
def test_patterns_mean_what_they_mean_on_the_hub(pattern: str, expected: list[str]) -> None:
    card = {"configs": [{"config_name": "default", "data_files": pattern}]}
    assert files_of_split("hub:a/b", ["a.jsonl", "x/b.jsonl", "x/y/a.jsonl"], "train", card) == expected


def test_files_of_another_format_that_are_no_copies_are_named() -> None:
    told: list[str] = []
    names = ["a.jsonl", "b.json", "a.json"]
    assert files_of_split("hub:a/b", names, "train", {}, warn=told.append) == ["a.jsonl"]
    (note,) = told
    assert note.startswith("hub:a/b: split 'train' is read from a.jsonl; b.json of another format is not")
    copies = ["data/train-00000-of-00001.parquet", "train.jsonl"]
    assert files_of_split("hub:a/b", copies, "train", {}, warn=told.append) == copies[:1]
    assert len(told) == 1


def test_a_split_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(UserError, match="hub:a/b has no split 'validation'; it has train, test"):
        files_of_split("hub:a/b", NO_ROBOTS, "validation", {})
    card = {"configs": [{"config_name": "default", "data_files": [{"split": "sft", "path": "data/*"}]}]}
    with pytest.raises(UserError, match="no split 'train'; it has sft"):
        files_of_split("hub:a/b", NO_ROBOTS, "train", card)


def test_a_format_that_is_not_read_is_named() -> None:
    card = {"configs": [{"config_name": "default", "data_files": "data.csv"}]}
    with pytest.raises(UserError, match=r"comes as data\.csv; .*`file:`"):
        files_of_split("hub:a/b", ["data.csv"], "train", card)
