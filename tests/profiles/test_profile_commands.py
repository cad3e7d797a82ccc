"""The committed profiles, and the command that writes one to params.yaml."""

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from codiemb_pipeline.benchmarks.registry import BENCHMARKS
from codiemb_pipeline.encoder.prompts import PromptBook
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.ingest.registry import TRAINING_SOURCES
from codiemb_pipeline.params import Params
from codiemb_pipeline.params.file import read_params
from codiemb_pipeline.profiles import main, read_profile, render

ROOT = Path(__file__).parents[2]
PAPER = ("bge-large-zh", "e5-large-instruct", "minicpm", "youtu")
NEWER = ("qwen3-embedding-0.6b", "bge-m3")
NAMES = ("quickstart", "custom", *PAPER, *NEWER)


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a project with the committed profiles and the quickstart's params.yaml."""
    shutil.copytree(ROOT / "conf/profiles", tmp_path / "conf/profiles")
    monkeypatch.chdir(tmp_path)
    shutil.copy("conf/profiles/base.yaml", "params.yaml")
    return tmp_path


def use(name: str) -> Result:
    return CliRunner().invoke(main, ["use", name], standalone_mode=False)


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_is_written_complete_and_consistent(name):
    assert use(name).exception is None
    values = read_params(Path("params.yaml"))
    assert values == read_profile(name)
    sources, assemble = values["ingest"]["sources"].keys(), values["assemble"]
    local = [entry for entry in values["evaluate"]["benchmarks"].values() if entry["type"] != "mteb"]
    assert set(assemble["dev_sources"]) <= set(assemble["train_sources"]) <= sources
    assert {entry["source"] for entry in local} <= sources


def test_the_quickstart_is_the_base_byte_for_byte():
    use("youtu")
    use("quickstart")
    assert Path("params.yaml").read_bytes() == Path("conf/profiles/base.yaml").read_bytes()


RECIPE = {
    "bge-large-zh": ("BAAI/bge-large-zh-v1.5", "cls", 512, 5e-5, 5, 64, "fp32", False, False),
    "e5-large-instruct": ("intfloat/multilingual-e5-large-instruct", "mean", 512, 5e-5, 5, 64, "fp32", False, False),
    "minicpm": ("openbmb/MiniCPM-Embedding", "weighted_mean", 1024, 4e-5, 4, 28, "bf16", False, True),
    "youtu": ("tencent/Youtu-Embedding", "mean", 1024, 4e-5, 4, 28, "bf16", False, True),
}


@pytest.mark.parametrize("name", PAPER)
def test_a_profile_has_the_recipe_s_numbers(name):
    params = Params.parse(read_profile(name))
    encoder, train = params.encoder, params.train
    assert RECIPE[name] == (
        *(encoder.path, encoder.pooling, encoder.max_length, train.learning_rate, train.epochs, train.batch_size.ir),
        *(train.precision, encoder.trust_remote_code, encoder.bidirectional),
    )
    assert (train.batch_size.sts, train.warmup, train.seed, train.accumulation) == (32, 0.03, 49, 1)
    assert (train.ir.positives, train.ir.hard_negatives, train.ir.temperature) == (2, 4, 0.02)
    assert (train.ir.cross_device, train.sts.cross_device, train.gradient_checkpointing) == (True, False, True)
    weights = {"pearson": 2, "rank_kl": 5, "pro": 0.5, "mid_info_nce": 1}
    parts = train.sts.active()
    assert {name: part.weight for name, part in parts.items()} == weights
    temperatures = [parts[name].temperature for name in ("rank_kl", "pro", "mid_info_nce")]
    assert temperatures == [0.05, 0.05, 0.02]
    assert (train.sampler.mode, train.weight_decay, train.checkpoint_every) == ("dynamic", 0.0, None)
    assert encoder.normalize


MODEL_CARD = {
    "qwen3-embedding-0.6b": ("Qwen/Qwen3-Embedding-0.6B", "last", "Instruct: any\nQuery:"),
    "bge-m3": ("BAAI/bge-m3", "cls", ""),
}


@pytest.mark.parametrize("name", NEWER)
def test_a_newer_encoder_is_used_as_its_model_card_says(name):
    params = Params.parse(read_profile(name))
    encoder, book = params.encoder, PromptBook(params.encoder.prompts)
    instruction = params.encoder.prompts.instructions["ir"]
    query = book.prefix("ir", "query", "any").replace(instruction, "any" if instruction else "")
    assert MODEL_CARD[name] == (encoder.path, encoder.pooling, query)
    assert (book.prefix("ir", "document", "any"), encoder.normalize) == ("", True)
    assert (encoder.bidirectional, encoder.append_eos, encoder.trust_remote_code) == (False, False, False)


@pytest.mark.parametrize("name", [*PAPER, "custom", "bge-m3"])
def test_an_encoder_from_the_hub_is_pinned_to_the_commit_that_mteb_names(name):
    encoder = read_profile(name)["encoder"]
    folder = Path(find_spec("mteb").origin).parent / "models/model_implementations"
    files = {"BAAI": "bge_models.py", "intfloat": "e5_instruct.py", "openbmb": "misc_models.py"}
    text = (folder / files.get(encoder["path"].partition("/")[0], "youtu_models.py")).read_text()
    entry = text.split(f'name="{encoder["path"]}"')[1]
    assert entry.split('revision="')[1].startswith(f'{encoder["revision"]}"')


@pytest.mark.parametrize("name", [*PAPER, *NEWER])
def test_a_profile_has_the_declared_sources_and_the_15_benchmarks_with_their_instructions(name):
    """mteb's entry of CoDi: T2, Du, mMARCO, cMedQA2; BQ, LCQMC, PAWSX, STS-B, AFQMC, Cmnli, Ocnli."""
    values = read_profile(name)
    sources, instructions = values["ingest"]["sources"], values["encoder"]["prompts"]["instructions"]
    assert values["evaluate"]["benchmarks"] == {task: {"type": "mteb", "path": None} for task in BENCHMARKS}
    if name == "bge-m3":  # without prompts
        assert instructions == {"ir": "", "sts": ""}
        instructions = {key: declared.instruction for key, declared in (TRAINING_SOURCES | BENCHMARKS).items()}
    assert {key: instructions[key] for key in BENCHMARKS} == {k: spec.instruction for k, spec in BENCHMARKS.items()}
    assert list(sources) == values["assemble"]["train_sources"] == [
        *("t2ranking", "dureader", "mmarco_zh", "cmedqa2"),
        *("bq", "lcqmc", "pawsx", "stsb", "afqmc", "cmnli", "ocnli"),
    ]  # fmt: skip
    for key, source in sources.items():
        declared = TRAINING_SOURCES[key]
        assert (source["registered"], source["path"], instructions[key]) == (key, None, declared.instruction)
        dev_is_cut = declared.task == "ir" or key == "afqmc"  # its benchmark is scored on the source's own dev set
        assert (source["splits"] is not None) == dev_is_cut
        assert not dev_is_cut or (source["splits"]["dev"] > 0 and source["splits"]["test"] == 0)


def test_mappings_merge_while_lists_and_named_entries_replace():
    lee = read_profile("quickstart")["ingest"]["sources"]["lee"] | {"splits": {"train": 0.6, "dev": 0.2, "test": 0.2}}
    sources = {"my_search": read_profile("custom")["ingest"]["sources"]["my_search"], "my_pairs": lee}
    overlay = {"train": {"ir": {"positives": 1}}, "ingest": {"sources": sources}, "evaluate": {"models": ["last"]}}
    Path("conf/profiles/mine.yaml").write_text(yaml.safe_dump({"extends": "custom", **overlay}))
    values, custom = read_profile("mine"), read_profile("custom")
    assert values["train"] == {**custom["train"], "ir": {**custom["train"]["ir"], "positives": 1}}
    assert values["ingest"]["sources"] == sources
    assert values["evaluate"] == {**custom["evaluate"], "models": ["last"]}
    assert "extends" not in values


def test_changes_are_printed_and_text_that_no_profile_gives_is_kept(root):
    """DVC writes `-S` values into params.yaml; as 1e-05, which YAML 1.1 would read as text."""
    edited = render("quickstart").replace("learning_rate: 3.0e-5", "learning_rate: 1e-05")
    for number, epochs in enumerate((3, 2), start=1):
        text = edited.replace("epochs: 4", f"epochs: {epochs}")
        Path("params.yaml").write_text(text)
        lines = [line.strip() for line in use("minicpm").output.splitlines()]
        assert {"train.learning_rate: 1e-05 -> 4e-05", f"train.epochs: {epochs} -> 4"} <= set(lines)
        assert any(line.startswith("ingest.sources.lee: {") and line.endswith("-> (removed)") for line in lines)
        assert Path(f"params.yaml.{number}").read_text() == text
    use("youtu")
    assert {path.name for path in root.iterdir()} == {"conf", "params.yaml", "params.yaml.1", "params.yaml.2"}


@pytest.mark.parametrize(
    ("name", "file", "text", "expected"),
    [
        ("bge-large", None, "", ["bge-large-zh"]),
        ("mine", "conf/profiles/mine.yaml", "train: {epoch: 4}", ["mine.yaml: train.epoch:", "'epochs'"]),
        ("mine", "conf/profiles/mine.yaml", "train: [1", ["mine.yaml", "line 1"]),
        ("mine", "conf/profiles/mine.yaml", "train: {}\ntrain: {}", ["mine.yaml", "line 2"]),
        ("mine", "conf/profiles/mine.yaml", "- train", ["mine.yaml"]),
        ("mine", "conf/profiles/mine.yaml", "extends: mine", ["mine.yaml: extends"]),
        ("mine", "conf/profiles/mine.yaml", "extends: nothing", ["nothing.yaml"]),
        ("youtu", "params.yaml", "encoder: [", ["params.yaml", "line 1"]),
    ],
)
def test_a_fault_is_named_and_nothing_is_written(name, file, text, expected):
    if file:
        Path(file).write_text(text)
    before = Path("params.yaml").read_bytes()
    error = use(name).exception
    assert isinstance(error, InputError)
    assert all(part in str(error) for part in expected), error
    assert Path("params.yaml").read_bytes() == before


def test_the_list_marks_the_profile_in_use():
    use("youtu")
    lines = CliRunner().invoke(main, ["list"]).output.splitlines()
    assert sorted(line[2:].split()[0] for line in lines) == sorted(NAMES)
    assert [line.split()[1] for line in lines if line.startswith("*")] == ["youtu"]
    assert CliRunner().invoke(main, ["show", "youtu"]).output == Path("params.yaml").read_text()
    assert read_params(Path("params.yaml")) == read_profile("youtu")


def test_outside_a_project_the_command_ends_with_an_error(root):
    (root / "empty").mkdir()
    command = [sys.executable, "-m", "codiemb_pipeline.profiles", "use", "minicpm"]
    ended = subprocess.run(command, cwd=root / "empty", capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "conf/profiles" in ended.stderr
    assert "Traceback" not in ended.stderr
