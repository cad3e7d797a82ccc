"""The committed profiles, and the command that puts one into params.yaml."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from codiemb_pipeline.benchmarks.registry import BENCHMARKS
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.ingest.registry import TRAINING_SOURCES
from codiemb_pipeline.params import Params
from codiemb_pipeline.profiles import switch
from codiemb_pipeline.profiles.switch import current_profile, profile_files, use_profile

ROOT = Path(__file__).parents[2]
FILES = {file.stem: file for file in sorted((ROOT / "conf/profiles").glob("*.yaml"))}
PAPER = ("bge-large-zh", "e5-large-instruct", "minicpm", "youtu")
VALUES: dict[str, dict[str, Any]] = {name: yaml.safe_load(file.read_text()) for name, file in FILES.items()}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a project's root with the committed params.yaml and profiles."""
    shutil.copytree(ROOT / "conf/profiles", tmp_path / "conf/profiles")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    return tmp_path


def comments(text: str) -> list[str]:
    return [line[line.index("#") :] for line in text.splitlines() if "#" in line]


def test_there_are_the_six() -> None:
    assert set(FILES) == {"quickstart", "custom", *PAPER}


@pytest.mark.parametrize("name", FILES)
def test_every_profile_is_a_valid_params_yaml(name: str) -> None:
    Params.parse(VALUES[name])


def test_quickstart_is_what_is_committed() -> None:
    committed = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert VALUES["quickstart"] == committed, "give conf/profiles/quickstart.yaml the values of params.yaml"


RECIPE = {
    "bge-large-zh": ("BAAI/bge-large-zh-v1.5", "cls", 512, 5e-5, 5, 64, "fp32", False, False),
    "e5-large-instruct": ("intfloat/multilingual-e5-large-instruct", "mean", 512, 5e-5, 5, 64, "fp32", False, False),
    "minicpm": ("openbmb/MiniCPM-Embedding", "mean", 1024, 4e-5, 4, 28, "bf16", True, True),
    "youtu": ("tencent/Youtu-Embedding", "mean", 1024, 4e-5, 4, 28, "bf16", True, True),
}


@pytest.mark.parametrize("name", PAPER)
def test_a_profile_has_the_recipe_s_numbers(name: str) -> None:
    params = Params.parse(VALUES[name])
    encoder, train = params.encoder, params.train
    assert RECIPE[name] == (
        *(encoder.path, encoder.pooling, encoder.max_length, train.learning_rate, train.epochs, train.batch_size.ir),
        *(train.precision, encoder.trust_remote_code, encoder.bidirectional),
    )
    assert (train.batch_size.sts, train.warmup, train.seed, train.accumulation) == (32, 0.03, 49, 1)
    assert (train.ir.positives, train.ir.hard_negatives, train.ir.temperature) == (2, 4, 0.02)
    assert (train.ir.cross_device, train.sts.cross_device, train.gradient_checkpointing) == (True, False, True)
    weights = {"pearson": 2, "rank_kl": 5, "pro": 0.5, "mid_info_nce": 1}
    assert {part: weight for part, weight in train.sts.weights().items() if weight} == weights
    temperatures = (train.sts.rank_kl_temperature, train.sts.pro_temperature, train.sts.mid_layer.temperature)
    assert temperatures == (0.05, 0.05, 0.02)
    assert (train.sampler.mode, train.weight_decay, train.checkpoint_every) == ("dynamic", 0.0, None)
    assert encoder.normalize


@pytest.mark.parametrize("name", [*PAPER, "custom"])
def test_an_encoder_from_the_hub_is_pinned_to_the_commit_that_mteb_names(name: str) -> None:
    encoder = VALUES[name]["encoder"]
    place = Path(find_spec("mteb").origin).parent / "models/model_implementations"
    files = {"BAAI": "bge_models.py", "intfloat": "e5_instruct.py", "openbmb": "misc_models.py"}
    text = (place / files.get(encoder["path"].partition("/")[0], "youtu_models.py")).read_text()
    entry = text.split(f'name="{encoder["path"]}"')[1]
    assert entry.split('revision="')[1].startswith(f'{encoder["revision"]}"')


@pytest.mark.parametrize("name", PAPER)
def test_a_profile_judges_the_15_with_their_instructions(name: str) -> None:
    values = VALUES[name]
    assert values["evaluate"]["benchmarks"] == {task: {"type": "mteb", "path": None} for task in BENCHMARKS}
    instructions = values["encoder"]["prompts"]["instructions"]
    assert {task: instructions[task] for task in BENCHMARKS} == {
        task: spec.instruction for task, spec in BENCHMARKS.items()
    }


@pytest.mark.parametrize("name", PAPER)
def test_a_profile_trains_on_what_was_declared_with_the_registry_s_instructions(name: str) -> None:
    """mteb's entry of CoDi: T2, Du, mMARCO, cMedQA2; BQ, LCQMC, PAWSX, STS-B, AFQMC, Cmnli, Ocnli."""
    sources = VALUES[name]["ingest"]["sources"]
    assert all(source["registered"] == key and source["path"] is None for key, source in sources.items())
    assert VALUES[name]["assemble"]["train_sources"] == list(sources)
    assert list(sources) == [
        *("t2ranking", "dureader", "mmarco_zh", "cmedqa2"),
        *("bq", "lcqmc", "pawsx", "stsb", "afqmc", "cmnli", "ocnli"),
    ]
    instructions = VALUES[name]["encoder"]["prompts"]["instructions"]
    assert {key: instructions[key] for key in sources} == {key: TRAINING_SOURCES[key].instruction for key in sources}


@pytest.mark.parametrize("name", PAPER)
def test_sources_that_are_not_confirmed_are_marked(name: str) -> None:
    lines = FILES[name].read_text().splitlines()
    marked = {line.split(":")[0].strip() for line in lines if line.endswith("# not confirmed")}
    sources = VALUES[name]["ingest"]["sources"]
    assert marked == {key for key in sources if not TRAINING_SOURCES[key].confirmed}


@pytest.mark.parametrize("name", PAPER)
def test_dev_is_cut_from_training_where_a_benchmark_is_scored_on_the_source_s_own(name: str) -> None:
    for key, source in VALUES[name]["ingest"]["sources"].items():
        cut = TRAINING_SOURCES[key].task == "ir" or key == "afqmc"
        assert (source["splits"] is not None) == cut
        assert not cut or (source["splits"]["dev"] > 0 and source["splits"]["test"] == 0)


@pytest.mark.parametrize("name", FILES)
def test_what_is_trained_and_scored_is_among_the_sources(name: str) -> None:
    values = VALUES[name]
    sources, assemble = values["ingest"]["sources"], values["assemble"]
    assert set(assemble["train_sources"]) <= set(sources)
    assert set(assemble["dev_sources"]) <= set(assemble["train_sources"])
    local = [entry for entry in values["evaluate"]["benchmarks"].values() if entry["type"] != "mteb"]
    assert {entry["source"] for entry in local} <= set(sources)


def test_keys_that_profiles_share_are_in_the_same_order() -> None:
    """Or a switch there and back would leave them in another."""

    def orders(values: dict[str, Any], place: str = "") -> dict[str, list[str]]:
        found = {place: list(values)}
        for key, value in values.items():
            if isinstance(value, dict):
                found |= orders(value, f"{place}.{key}")
        return found

    every = [orders(values) for values in VALUES.values()]
    for one, other in itertools.combinations(every, 2):
        for place in one.keys() & other.keys():
            assert [key for key in one[place] if key in other[place]] == [
                key for key in other[place] if key in one[place]
            ], place


@pytest.mark.parametrize(("there", "further"), zip(FILES, [*FILES][1:] + [*FILES][:1], strict=True))
def test_there_and_back_gives_the_committed_bytes(root: Path, there: str, further: str) -> None:
    committed = (root / "params.yaml").read_bytes()
    for name in (there, further):
        use_profile(root, name)
        text = (root / "params.yaml").read_text()
        assert yaml.safe_load(text) == VALUES[name]
        assert current_profile(root) == name
        assert set(comments(committed.decode())) - set(comments(FILES["quickstart"].read_text())) <= set(comments(text))
    use_profile(root, "quickstart")
    assert (root / "params.yaml").read_bytes() == committed


def test_the_lines_of_what_changed_change_and_no_others(root: Path) -> None:
    before = (root / "params.yaml").read_text()
    text = (root / "conf/profiles/quickstart.yaml").read_text()
    for old, new in (("epochs: 4", "epochs: 5"), ("{tokens: 4096, max", "{tokens: 8192,max"), ("tau: 1.0", "tau: 2.0")):
        assert old in text
        text = text.replace(old, new)
    (root / "conf/profiles/near.yaml").write_text(text)
    changed = {change.key for change in use_profile(root, "near")}
    assert changed == {"train.epochs", "train.chunk", "merge.recipes.delta_guided"}
    lines, now = before.splitlines(), (root / "params.yaml").read_text().splitlines()
    assert len(lines) == len(now)
    assert [new.split(":")[0].strip() for old, new in zip(lines, now, strict=True) if old != new] == [
        *("epochs", "chunk", "delta_guided")
    ]


def test_the_owner_s_own_comments_and_layout_stay(root: Path) -> None:
    file = root / "params.yaml"
    text = file.read_text().replace("  epochs: 4\n", "  # ours\n  epochs: 4   # as agreed\n")
    text = text.replace("  compile: false\n", "  compile:   false\n") + "\n# the end\n"
    file.write_text(text)
    use_profile(root, "bge-large-zh")
    now = file.read_text()
    assert "  # ours\n  epochs: 5   # as agreed\n" in now
    assert "  compile:   false\n" in now
    assert now.endswith("\n# the end\n")
    use_profile(root, "quickstart")
    assert file.read_text() == text


def test_an_override_is_taken_back_by_the_same_profile(root: Path) -> None:
    """DVC writes `-S` values into params.yaml; as 1e-05, which YAML 1.1 would read as text."""
    committed = (root / "params.yaml").read_text()
    (root / "params.yaml").write_text(committed.replace("learning_rate: 3.0e-5", "learning_rate: 1e-05"))
    assert current_profile(root) is None
    (change,) = use_profile(root, "quickstart")
    assert (change.key, change.before, change.after) == ("train.learning_rate", "1e-05", "3.0e-5")
    assert (root / "params.yaml").read_text() == committed


def test_an_unknown_name_is_refused_with_the_nearest(root: Path) -> None:
    before = (root / "params.yaml").read_bytes()
    with pytest.raises(InputError, match=r"no profile 'bge-large' in conf/profiles \(did you mean 'bge-large-zh'\?\)"):
        use_profile(root, "bge-large")
    assert (root / "params.yaml").read_bytes() == before


def test_a_profile_that_is_no_valid_params_yaml_is_refused(root: Path) -> None:
    before = (root / "params.yaml").read_bytes()
    file = root / "conf/profiles/youtu.yaml"
    file.write_text(file.read_text().replace("  epochs: 4\n", "  epoch: 4\n"))
    with pytest.raises(InputError) as caught:
        use_profile(root, "youtu")
    lines = str(caught.value).splitlines()
    assert f"{file}: train.epochs: missing parameter" in lines
    assert f"{file}: train.epoch: unknown parameter (did you mean 'epochs'?)" in lines
    assert (root / "params.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("encoder: [\n", r"params\.yaml: line \d+: not YAML"),
        ("encoder: &e\n  path: a\nmine: *e\n", r"params\.yaml: it is written in a way this command can't take apart"),
    ],
)
def test_a_params_yaml_that_can_t_be_taken_apart_is_left_as_it_is(root: Path, text: str, message: str) -> None:
    (root / "params.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        use_profile(root, "minicpm")
    assert (root / "params.yaml").read_text() == text


def test_outside_a_project_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"conf/profiles: expected profiles, found none; run this in the project's"):
        use_profile(tmp_path, "minicpm")


def test_params_yaml_is_written_whole_or_not_at_all(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (root / "params.yaml").read_bytes()

    def fail(*_: Any) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(switch.os, "replace", fail)
        with pytest.raises(OSError, match="no space left"):
            use_profile(root, "minicpm")
    assert (root / "params.yaml").read_bytes() == before
    assert {entry.name for entry in root.iterdir()} == {"conf", "params.yaml"}
    (root / "params.yaml").chmod(0o640)
    use_profile(root, "minicpm")
    assert (root / "params.yaml").stat().st_mode & 0o777 == 0o640


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "codiemb_pipeline.profiles", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def test_the_command_lists_shows_and_uses(root: Path) -> None:
    listed = run(root, "list").stdout.splitlines()
    assert [line.split()[0] for line in listed if not line.startswith("*")] == sorted(set(FILES) - {"quickstart"})
    assert [line.split()[1] for line in listed if line.startswith("*")] == ["quickstart"]
    assert run(root, "show", "youtu").stdout == FILES["youtu"].read_text()
    used = run(root, "use", "youtu").stdout.splitlines()
    assert "  train.learning_rate: 3.0e-5 -> 4.0e-5" in used
    assert "  - ingest.sources.semanlink" in used
    assert used[-1] == f"params.yaml: profile youtu, {len(used) - 1} values changed; see git diff"
    wrong = run(root, "use", "youto")
    assert (wrong.returncode, wrong.stderr.strip()) == (
        1,
        "no profile 'youto' in conf/profiles (did you mean 'youtu'?)",
    )
    assert profile_files(root).keys() == FILES.keys()


@pytest.mark.parametrize(("given", "command"), [([], "list"), (["PROFILE=youtu"], "use youtu")])
def test_make_profile_runs_the_command(given: list[str], command: str) -> None:
    make = ["make", "--dry-run", "--assume-old=.venv/ready", "profile", *given]
    # As from a shell: under `make test` it would inherit the flags of that make, and speak of its folders.
    environment = {
        name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")
    }
    shown = subprocess.run(make, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-1] == f"python -m codiemb_pipeline.profiles {command}"
