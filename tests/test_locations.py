import pytest

from codiemb_pipeline.locations import is_hub_id


@pytest.mark.parametrize("location", ["package:a/b", "./a", "/a", "~/a", "a", "a/b/c"])
def test_what_can_only_be_a_path_is_no_hub_id(location):
    assert not is_hub_id(location)


def test_an_organisation_and_a_name_are_a_hub_id_unless_a_folder_lies_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_hub_id("BAAI/bge-large-zh-v1.5")
    (tmp_path / "BAAI" / "bge-large-zh-v1.5").mkdir(parents=True)
    assert not is_hub_id("BAAI/bge-large-zh-v1.5")
