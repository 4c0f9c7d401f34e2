"""The ten worked cases of the specification, which many misreadings of the paper fail."""

import json
from pathlib import Path

import pytest

from mae_lib.theory.graph import GraphError, HierGraph
from mae_lib.theory.search import algorithm2, locate, locate_literal, rounds_as_printed
from mae_lib.theory.verify import verify_theorem1

FILE = json.loads(Path(__file__).with_name("theory_vectors.json").read_text(encoding="utf-8"))
VECTORS = {vector["id"]: vector for vector in FILE["vectors"]}


@pytest.fixture(params=VECTORS)
def vector(request):
    return VECTORS[request.param]


@pytest.fixture
def graph(vector):
    return HierGraph(map(tuple, vector["edges"]), vector["pixels"], vector["latents"])


@pytest.mark.parametrize("search", [locate, locate_literal])
def test_a_search_finds_what_is_expected(search, graph, vector):
    given = [vector["target"], vector["visible"]]
    found = search(graph, *given[:1 + vector["visible_given"]])
    for name in ("c", "selected", "shared", "s_m", "s_mc"):
        assert getattr(found, name) == set(vector["expect"][name]), name


def test_algorithm_2_finds_what_is_expected(graph, vector):
    expected = vector["expect"]["s_mc_algorithm2"]
    listed = algorithm2(graph, vector["visible"], vector["expect"]["c"])
    assert listed == (set(expected["exogenous"]), set(expected["latent"]))


def test_algorithm_2_as_printed_ends_or_not(graph, vector):
    if vector["expect"]["algorithm2_as_printed_ends"]:
        rounds_as_printed(graph, vector["visible"], vector["expect"]["c"])
    else:
        with pytest.raises(RuntimeError):
            rounds_as_printed(graph, vector["visible"], vector["expect"]["c"])


def test_the_verifier_agrees(graph, vector):
    expect = vector["expect"]
    report = verify_theorem1(graph, vector["target"], vector["visible"], expect["c"],
                             expect["s_m"], expect["s_mc"])
    assert report.ok and report.markov == expect["markov_given_c"]


@pytest.mark.parametrize("wrong", FILE["errors"], ids=lambda e: e["id"])
def test_errors_are_raised(wrong):
    with pytest.raises(GraphError):
        HierGraph(map(tuple, wrong["edges"]), wrong["pixels"], wrong.get("latents")).query(
            wrong.get("target", []))
