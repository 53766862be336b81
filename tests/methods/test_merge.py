"""Merging policies on disk: to the last bit at the ends, sharded or not, and what does not fit."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
import toy_policy as toy
from safetensors.torch import load_file, save_file

from farm.artifacts import content_hash
from farm.config import build, compose, plain
from farm.errors import ConfigError, DataError
from farm.models.fresh import FreshLlama
from farm.models.load import load_policy, load_tokenizer, save_policy
from farm.models.shards import INDEX, Weights
from farm.models.tokenizers import WordLevel
from farm.types import Decoding, Inputs, PolicyRef
from methods.merge import TENSORS, Merge
from methods.merging.schedules import Constant
from methods.merging.streaming import merge_folders
from methods.merging.ways import Linear, Slerp, TaskArithmetic, Way

WAYS = sorted(path.stem for path in (Path(__file__).parents[2] / "conf/merging").glob("*.yaml"))


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> list[PolicyRef]:
    """Of one tokenizer; the second has other weights."""
    folder = tmp_path_factory.mktemp("policies")
    return [toy.starting_policy(folder / str(seed), seed) for seed in (0, 1)]


def merged(policies: list[PolicyRef], way: Way, work: Path) -> Path:
    merge = Merge(policies=["start", "previous"], merge=way)
    policy = merge.fit(policies[-1], Inputs(policies=policies), toy.context(work))
    assert policy.decoding == policies[-1].decoding
    return Path(policy.path)


@pytest.mark.parametrize("t", [0, 1])
def test_the_ends_are_the_policies(t: int, policies: list[PolicyRef], tmp_path: Path) -> None:
    path = merged(policies, Slerp(t=Constant(t=t)), tmp_path)
    assert toy.same_weights(path, policies[t].path)


def test_transformers_loads_the_mean(policies: list[PolicyRef], tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = merged(policies, Linear(weights=[0.25, 0.75]), tmp_path)
    left, right, found = (toy.weights(p) for p in (policies[0].path, policies[1].path, path))
    model = AutoModelForCausalLM.from_pretrained(path).state_dict()
    for name, tensor in found.items():
        assert tensor.allclose(0.25 * left[name] + 0.75 * right[name], atol=1e-7)
        assert model[name].equal(tensor)
    theirs, ours = (AutoTokenizer.from_pretrained(p) for p in (policies[0].path, path))
    assert theirs.get_vocab() == ours.get_vocab()


def test_likeness_of_every_tensor_is_kept(policies: list[PolicyRef], tmp_path: Path) -> None:
    merged(policies, TaskArithmetic(scale=0.5), tmp_path)
    found = pd.read_parquet(tmp_path / TENSORS).set_index("name")
    left, right = (toy.weights(p.path) for p in policies)
    assert set(found.index) == set(left)
    name = "model.layers.1.mlp.up_proj.weight"
    a, b = left[name].double(), right[name].double()
    row = found.loc[name]
    assert row["cosine"] == pytest.approx(float((a * b).sum() / a.norm() / b.norm()))
    assert row["distance"] == pytest.approx(float((b - a).norm() / a.norm()))
    assert row["depth"] == 1.0 and not row["nearly_parallel"]
    assert found.loc["model.norm.weight", "nearly_parallel"], "fresh norms are all ones"
    (line,) = toy.metrics(tmp_path)
    matrices = found[found["dimensions"] > 1]
    assert line["nearly_parallel"] == matrices["nearly_parallel"].mean() == 0
    assert line["distance"] == pytest.approx(matrices["distance"].mean())


def test_shards_are_read_and_written(policies: list[PolicyRef], tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    sharded = tmp_path / "sharded"
    AutoModelForCausalLM.from_pretrained(policies[0].path).save_pretrained(
        sharded, max_shard_size="10KB"
    )
    for file in Path(policies[0].path).glob("tokenizer*"):
        (sharded / file.name).write_bytes(file.read_bytes())
    assert len(list(sharded.glob("*.safetensors"))) > 2
    way, folders = Linear(weights=[0.5, 0.5]), [sharded, Path(policies[1].path)]
    limit = 20_000
    merge_folders(folders, way, tmp_path / "shards", shard_bytes=limit)
    merge_folders(folders, way, tmp_path / "whole")
    files = sorted((tmp_path / "shards").glob("*.safetensors"))
    assert len(files) > 1
    parts = [load_file(file) for file in files]
    assert all(len(p) == 1 or sum(t.nbytes for t in p.values()) <= limit for p in parts)
    whole = toy.weights(tmp_path / "whole")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "shards").state_dict()
    assert loaded.keys() == whole.keys()
    assert all(loaded[name].equal(tensor) for name, tensor in whole.items())
    index = json.loads((tmp_path / "shards" / INDEX).read_text())
    assert index["metadata"]["total_size"] == sum(t.nbytes for t in whole.values())


def in_dtype(policy: PolicyRef, dtype: torch.dtype, folder: Path) -> Path:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(policy.path, dtype=dtype)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(policy.path).save_pretrained(folder)
    return folder


def test_dtypes_are_kept_and_mixed_ones_hold_both(
    policies: list[PolicyRef], tmp_path: Path
) -> None:
    halves = [in_dtype(p, torch.bfloat16, tmp_path / str(n)) for n, p in enumerate(policies)]
    way = Slerp(t=Constant(t=1.0))
    merge_folders(halves, way, tmp_path / "half")
    assert toy.same_weights(tmp_path / "half", halves[1])
    merge_folders([halves[0], Path(policies[1].path)], way, tmp_path / "mixed")
    assert toy.same_weights(tmp_path / "mixed", policies[1].path)
    assert json.loads((tmp_path / "mixed" / "config.json").read_text())["dtype"] == "float32"


def test_other_shapes_are_named_before_anything_is_written(
    policies: list[PolicyRef], tmp_path: Path
) -> None:
    source = FreshLlama(
        tokenizer=WordLevel(), hidden_size=32, layers=1, heads=2, intermediate_size=48,
        tie_embeddings=False, **toy.LIMITS,
    )  # fmt: skip
    other = source.build(toy.instructions(64), tmp_path / "other", seed=0)
    folders = [Path(policies[0].path), Path(other)]
    with pytest.raises(DataError, match=r"layers\.0\.mlp\.down_proj.* is 32 x 64 in .* 32 x 48"):
        merge_folders(folders, Linear(weights=[0.5, 0.5]), tmp_path / "into")
    assert not (tmp_path / "into").exists()


def test_other_words_are_named(policies: list[PolicyRef], tmp_path: Path) -> None:
    first = Path(policies[0].path)
    other = tmp_path / "other"
    other.mkdir()
    for file in first.iterdir():
        content = file.read_bytes()
        renamed = content.replace(b'"goat"', b'"boat"') if file.suffix == ".json" else content
        (other / file.name).write_bytes(renamed)
    with pytest.raises(DataError, match=r"boat.*one vocabulary"):
        merge_folders([first, other], Linear(weights=[0.5, 0.5]), tmp_path / "into")


def test_tokens_without_an_embedding_get_one(policies: list[PolicyRef], tmp_path: Path) -> None:
    """A model without a pad token grows by one row when it is trained; the stock model has not."""
    from transformers import AutoModelForCausalLM

    stock = in_dtype(policies[0], torch.float32, tmp_path / "stock")
    tokenizer = json.loads((stock / "tokenizer_config.json").read_text())
    assert tokenizer.pop("pad_token")
    (stock / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    save_policy(load_policy(stock), load_tokenizer(stock), tmp_path / "trained")
    rows = [len(toy.weights(p)["lm_head.weight"]) for p in (stock, tmp_path / "trained")]
    assert rows[1] == rows[0] + 1
    for t, folders in ((1.0, ["stock", "trained"]), (0.0, ["trained", "stock"])):
        into = tmp_path / f"merged {t}"
        merge_folders([tmp_path / f for f in folders], Slerp(t=Constant(t=t)), into)
        assert toy.same_weights(into, tmp_path / "trained")
        assert AutoModelForCausalLM.from_pretrained(into).config.vocab_size == rows[1]
    merge_folders([stock, tmp_path / "trained"], Slerp(t=Constant(t=0.0)), tmp_path / "start")
    assert toy.weights(tmp_path / "start")["lm_head.weight"][: rows[0]].equal(
        toy.weights(stock)["lm_head.weight"]
    )


def test_whole_numbers_must_agree(policies: list[PolicyRef], tmp_path: Path) -> None:
    folders = []
    for number, policy in enumerate(policies):
        folder = in_dtype(policy, torch.float32, tmp_path / str(number))
        weights = {**toy.weights(policy.path), "model.positions": torch.tensor([number])}
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        folders.append(folder)
    with pytest.raises(DataError, match=r"model\.positions holds whole numbers"):
        merge_folders(folders, Linear(weights=[0.5, 0.5]), tmp_path / "into")


def test_a_finished_merge_is_not_done_again(policies: list[PolicyRef], tmp_path: Path) -> None:
    path = merged(policies, Slerp(t=Constant()), tmp_path)
    before = content_hash(path)
    (path / "model.safetensors").touch()
    assert content_hash(merged(policies[::-1], Slerp(t=Constant(t=0.0)), tmp_path)) == before


def test_a_control_token_is_no_weight(policies: list[PolicyRef], tmp_path: Path) -> None:
    controlled = PolicyRef(policies[0].path, Decoding(1.0, 6, control="<good>"))
    with pytest.raises(ConfigError, match="previous is decoded in a way of its own"):
        merged([policies[0], controlled], Slerp(t=Constant()), tmp_path)


def test_no_weights_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no weights here"):
        Weights(tmp_path)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_the_group_merges(way: str, policies: list[PolicyRef], tmp_path: Path) -> None:
    node = plain(compose(["method=merge", f"merging@method.merge={way}"]))["method"]
    merge = build(node)
    policy = merge.fit(policies[1], Inputs(policies=policies), toy.context(tmp_path))
    parents = [toy.weights(p.path) for p in policies]
    for name, tensor in toy.weights(policy.path).items():
        assert tensor.isfinite().all()
        assert tensor.shape == parents[0][name].shape
    assert not any(toy.same_weights(policy.path, p.path) for p in policies)
